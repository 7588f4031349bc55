# Every target builds the environment it needs; nothing has to be installed by hand but Python 3.11+.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help env check format test zoo demo validate bench fuzz mutants clean

help: ## what can be made
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

env: $(VENV)/.installed ## the environment, in .venv

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

check: env ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: env ## rewrite to the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: env ## the test suite, on all cores
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto  # one process a core, one thread each

zoo: env ## a mirror of all nine: seeded full-size files, about 3.5 GB in .zoo
	$(BIN)/python -m fixtures.zoo .zoo

demo: env ## fetch, convert and verify one embedded full-size checkpoint over loopback
	$(BIN)/python -m fixtures.zoo .zoo tiny-gf
	rm -rf .zoo/cache demo
	$(BIN)/python -m fixtures.serve .zoo -- $(BIN)/hornet-convert fetch tiny-gf \
		--mirror {mirror} --cache .zoo/cache --out demo
	$(BIN)/hornet-convert verify demo/hornet-tiny-gf_*.safetensors
	ls -l demo

validate: zoo ## all nine, full size, fetched over loopback HTTP and checked
	rm -rf .zoo/cache
	$(BIN)/python -m fixtures.serve .zoo -- $(BIN)/hornet-convert validate \
		--mirror {mirror} --cache .zoo/cache --no-keep --onnx \
		--json .zoo/validate.json --junit .zoo/validate.xml
	$(BIN)/python -m fixtures.results .zoo --check

bench: env ## time and memory beside what others do for the same work
	@status=0; \
	$(BIN)/python -m benchmarks.conversion .zoo/bench --json .zoo/bench.json || status=1; \
	$(BIN)/python -m benchmarks.download --json .zoo/bench-download.json || status=1; \
	$(BIN)/python -m benchmarks.verify .zoo/bench --json .zoo/bench-verify.json || status=1; \
	$(BIN)/python -m benchmarks.model --json .zoo/bench-model.json || status=1; \
	exit $$status

fuzz: env ## ten minutes: two readers, mutated files, killed conversions and downloads, interrupts
	$(BIN)/python -m fuzz.readers --minutes 5
	$(BIN)/python -m fuzz.reader --count 4000
	$(BIN)/python -m fuzz.writing
	$(BIN)/python -m fuzz.download
	$(BIN)/python -m fuzz.interrupt

mutants: env ## plausible bugs put into the conversion, one at a time: its proof has to see each
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m mutants

clean: ## remove everything that was built
	rm -rf $(VENV) .zoo demo build dist *.egg-info .mypy_cache .ruff_cache .hypothesis
