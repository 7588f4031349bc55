# Every target builds the environment it needs; nothing has to be installed by hand but Python 3.11+.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help env check format test docs picture zoo demo validate bench fuzz mutants dist clean

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
	@# A process a core, one thread each; bytecode is kept, because the tests start many processes.
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n auto --dist worksteal

docs: env ## the documentation, in site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

picture: env ## the picture in README, made from a real run
	$(BIN)/python -m fixtures.picture

zoo: env ## a mirror of all nine: seeded full-size files, about 4.1 GB in .zoo
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
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto -m rest tests/model

bench: env ## time and memory beside what others do for the same work; AGAINST=FILE, ONLY="verify tiny,load"
	$(BIN)/python -m benchmarks .zoo/bench --json .zoo/bench.json \
		$(if $(ONLY),--only '$(ONLY)') $(if $(AGAINST),--against '$(AGAINST)')

fuzz: env ## ten minutes: two readers, mutated files, killed conversions and downloads, interrupts
	$(BIN)/python -m fuzz.readers --minutes 5
	$(BIN)/python -m fuzz.reader --count 4000
	$(BIN)/python -m fuzz.writing
	$(BIN)/python -m fuzz.download
	$(BIN)/python -m fuzz.interrupt

mutants: env ## plausible bugs put into the conversion, one at a time: its proof has to see each
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m mutants

dist: env ## sdist and wheel of the last commit, the same bytes wherever they are built
	rm -rf dist
	$(BIN)/python -m release.dist dist
	$(BIN)/twine check --strict dist/*

clean: ## remove everything that was built
	rm -rf $(VENV) .zoo demo site build dist *.egg-info .mypy_cache .ruff_cache .hypothesis
