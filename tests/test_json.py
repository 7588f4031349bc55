"""What the commands write as JSON: one shape for one and many, for success and failure."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import click
import pytest
import torch
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from fixtures import small
from hornet_convert import errors
from hornet_convert.checks.checks import SENTENCES
from hornet_convert.cli import cli, run
from hornet_convert.family import zoo
from hornet_convert.images.files import ImageRefusedError
from hornet_convert.images.processes import ProcessGroupError
from hornet_convert.report.check import CheckCode
from hornet_convert.report.document import ExitCode, command_of, document
from hornet_convert.report.report import Report
from hornet_convert.schema import COMMANDS, FILES, NO_COMMAND, names, schema
from tests.documents import conforms, parsed, provenance, validator
from tests.usage.pictures import picture

Capture = pytest.CaptureFixture[str]

CACHE = "--cache {new}/cache"
MIRROR = f"--mirror {{mirror}} --source mirror {CACHE}"
FAST = "--no-forward"
PREDICT = f"--ckpt {{ckpt}} --top 2 {CACHE}"
CASES: list[tuple[str, int, list[str]]] = [  # command line, exit code, status of each result
    ("list", 0, ["pass"] * 9),
    ("list --all", 2, []),
    (f"verify {{ckpt}} {FAST}", 0, ["pass"]),
    (f"verify {{ckpt}} {{other}} -v -q {FAST}", 0, ["pass", "pass"]),
    ("verify {nan}", 1, ["fail"]),
    ("verify {ckpt} --seed 9223372036854775807 --report {new}/page.html", 0, ["pass"]),
    (f"verify {{ckpt}} {FAST} --report {{ckpt}}", 5, ["pass"]),
    (f"verify {{page}} {FAST}", 4, ["error"]),
    (f"verify {{ckpt}} {{page}} {{other}} {FAST}", 4, ["pass", "error", "pass"]),
    (f"verify {{page}} {{ckpt}} {FAST} --require authentic", 1, ["error", "fail"]),
    (f"verify {{page}}/none {FAST}", 2, ["error"]),
    ("verify {ckpt} --model tinny", 2, []),
    ("verify {ckpt} {other} --sha256 xyz", 2, []),
    ("convert {ckpt} --out {new} --dtype float16", 0, ["pass"]),
    (f"convert {{ckpt}} --out {{new}} --format onnx {FAST}", 0, ["pass"]),
    (f"convert {{ckpt}} {{page}} --out {{new}} --format pth {FAST}", 4, ["pass", "error"]),
    (f"convert {{ckpt}} --out {{page}} {FAST}", 5, ["error"]),
    ("convert {ckpt} --layout backbone --head in1k", 2, ["error"]),
    ("compare {ckpt} {ckpt}", 0, ["pass"]),
    ("compare {ckpt} {nan} -q --tensors", 1, ["fail"]),
    ("compare {ckpt} {page}", 4, ["error"]),
    ("compare {ckpt}", 2, []),
    ("inspect {ckpt}", 0, ["pass"]),
    ("inspect {page}", 4, ["error"]),
    ("inspect {ckpt} --key nowhere", 2, ["error"]),
    (f"fetch w8 --out {{new}} {MIRROR} {FAST} -q -v", 0, ["pass"]),
    (f"fetch w8 other --out {{new}} {MIRROR} {FAST}", 3, ["pass", "error"]),
    ("fetch", 2, []),
    (f"publish w8 --out {{new}}/hub {MIRROR} {FAST}", 0, ["pass"]),
    (f"publish {{ckpt}} --out {{new}}/hub --onnx {FAST}", 0, ["pass"]),
    ("publish {page} --out {new}/hub", 4, ["error"]),
    ("publish {page}", 2, []),
    (f"predict {{pictures}}/a.png {PREDICT}", 0, ["pass"]),
    (f"predict {{pictures}} {PREDICT}", 0, ["pass", "skipped"]),
    (f"predict {{pictures}}/a.png {{pictures}}/b.png {PREDICT}", 4, ["pass", "error"]),
    (f"predict {{pictures}}/b.png {PREDICT}", 4, ["error"]),
    ("predict {pictures}/a.png --ckpt {nan}", 1, []),
    ("predict {pictures}/a.png", 2, []),
    (f"eval {{pictures}}/list.csv --ckpt {{ckpt}} {CACHE} -q", 0, ["pass"]),
    (f"eval {{pictures}}/list.csv --ckpt {{page}} {CACHE}", 4, ["error"]),
    ("eval {pictures}/list.csv", 2, []),
    (f"cache path {CACHE}", 0, []),
    ("cache path --bogus", 2, []),
    ("cache list --cache {filled}", 0, ["pass"]),
    ("cache list --bogus", 2, []),
    ("cache verify --cache {filled}", 0, ["pass"]),
    ("cache verify --cache {damaged}", 1, ["fail"]),
    (f"cache clear {CACHE}", 0, ["pass"]),
    (f"cache clear w8 {CACHE}", 0, ["pass"]),
    ("cache clear nobody", 2, []),
    (f"cache prune {CACHE}", 0, ["pass"]),
    ("cache prune --bogus", 2, []),
    ("pins --cache {filled}", 0, ["pass"]),
    ("pins --cache {broken}", 4, []),
    ("pins export --cache {filled} --by Ada --out {new}/pins.json", 0, ["pass"]),
    ("pins export --bogus", 2, []),
    (f"pins --json merge {{pins}} {CACHE} --yes", 0, ["pass"]),
    ("pins merge {against} --cache {filled}", 1, ["fail"]),
    ("pins merge {page} --cache {filled}", 4, []),
    ("pins forget w8 --cache {damaged}", 0, ["pass"]),
    ("pins forget nobody", 2, []),
    ("frobnicate", 2, []),
    ("", 2, []),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Checkpoints, right and wrong, a mirror, images, caches, and what pins say.

    `w8` is published, `other` is not to be had.
    """
    folder = tmp_path_factory.mktemp("json")
    weights = small.tensors("w8", num_classes=1000)
    small.write(folder / "ckpt", "official-zip", "w8", num_classes=1000)
    small.write(folder / "other", "official-zip", "w8", label="other")
    key = next(name for name, value in weights.items() if value.ndim == 2)
    weights[key] = weights[key].clone()
    weights[key].view(-1)[:2] = torch.tensor([torch.nan, torch.inf])
    torch.save({"model": weights}, folder / "nan")
    (folder / "page").write_text("<!DOCTYPE html><html><title>Gone</title></html>")
    (folder / "pictures").mkdir()
    picture(0).save(folder / "pictures" / "a.png")
    (folder / "pictures" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "pictures" / "list.csv").write_text("path,label\na.png,3\nb.png,4\n")
    find = zoo.find
    rows = {"w8": small.published(folder / "mirror", "official-zip", "w8"), "other": find("small")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "find", lambda name: rows.get(name) or find(name))
        source = ["--mirror", str(folder / "mirror"), "--source", "mirror"]
        cache, image = ["--cache", str(folder / "filled")], str(folder / "pictures" / "a.png")
        assert run(["predict", image, "--model", "w8", *source, *cache]) == 0
        assert run(["pins", "export", "--by", "Ada", "--out", str(folder / "pins"), *cache]) == 0
        document = json.loads((folder / "pins").read_text())
        conforms("pins file", document)
        document["pins"][0] |= {"sha256": document["pins"][0]["sha256"][:8] + "0" * 56, "id": "x"}
        (folder / "against").write_text(json.dumps(document))
        shutil.copytree(folder / "filled", folder / "damaged")
        for file in (folder / "damaged").rglob("*.safetensors"):
            file.write_bytes(file.read_bytes() + b"!")
        (folder / "broken").mkdir()
        (folder / "broken" / "trust.json").write_text("{")
        yield folder


@pytest.fixture
def places(place: Path, tmp_path: Path) -> Mapping[str, Path]:
    """Where everything is, and where new things go."""
    return {path.name: path for path in place.iterdir()} | {"new": tmp_path}


def words(line: str, places: Mapping[str, Path]) -> list[str]:
    """The words of a command line."""
    return [word.format(**places) for word in re.split(" +", line) if word]


@pytest.mark.parametrize(("line", "code", "statuses"), CASES, ids=[line for line, *_ in CASES])
def test_every_command_says_it_in_one_shape(
    capsys: Capture, places: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch,
    line: str, code: int, statuses: list[str],
) -> None:  # fmt: skip
    """One document, whose exit code is that of the process, and a result for each thing named."""
    capsys.readouterr()
    if line.startswith("cache"):  # which knows the published models only
        monkeypatch.setitem(zoo.BY_NAME, "w8", zoo.find("w8"))
    arguments = words(line, places)
    if "--json" not in arguments:
        arguments.append("--json")
    assert code == run(arguments)
    shown = capsys.readouterr()
    document = parsed(shown.out)
    assert (code, command_of(arguments)) == (document["exit_code"], document["command"])
    assert statuses == [result["status"] for result in document["results"]]
    assert (code >= 2) <= (document["error"] is not None)
    assert "Error" not in shown.err
    for beside in places["new"].glob("*.json"):
        if beside.name != "pins.json":
            provenance(beside.read_text())


def test_every_command_succeeds_and_fails_above() -> None:
    """With `--json`, which every command has but those that write JSON anyway or to a file."""
    tried = {(command_of(line.split()), code == 0) for line, code, _ in CASES}
    others = {"validate"}
    assert {(name, end) for name in {*COMMANDS} - others for end in (True, False)} <= tried

    def commands(group: click.Group, path: str = "") -> Iterator[str]:
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                yield from commands(command, f"{path}{name} ")
            if any("--json" in option.opts for option in command.params):
                yield f"{path}{name}"

    assert {*commands(cli)} == {*COMMANDS}


def test_one_of_several_processes_writes_it(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that share an evaluation the first, in failure too; the others say it on stderr."""
    for rank, documents in (("0", 1), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        assert 2 == run(["eval", "nowhere", "--json"])
        shown = capsys.readouterr()
        assert documents == len([parsed(shown.out)] if shown.out else [])
        assert documents == (not shown.err)


def test_an_option_that_is_given_too_much_asks_for_it_too(capsys: Capture) -> None:
    """`--json` takes no value but with `validate`, where it is a file."""
    assert 2 == run(["verify", "a.pth", "--json=3"])
    assert "usage" == parsed(capsys.readouterr().out)["error"]["code"]
    assert 2 == run(["validate", "tinny", "--json=/"])
    assert "" == capsys.readouterr().out


def test_a_subject_is_a_file_as_named_or_a_model_of_the_table(
    capsys: Capture, places: Mapping[str, Path]
) -> None:
    """What is named twice is one result."""
    capsys.readouterr()
    ckpt = str(places["ckpt"])
    run(["verify", ckpt, ckpt, "--no-forward", "--json", "--cache", str(places["new"] / "c")])
    assert [ckpt] == [each["subject"] for each in parsed(capsys.readouterr().out)["results"]]
    nothing = ["--offline", "--cache", str(places["new"] / "c"), "--json"]
    run(["fetch", "TINY_GF", "tiny-gf", *nothing])
    assert ["tiny-gf"] == [each["subject"] for each in parsed(capsys.readouterr().out)["results"]]


def test_validate_writes_it_to_a_file(capsys: Capture, places: Mapping[str, Path]) -> None:
    """Of the models, with the time each took; also where nothing could be begun, or written."""
    new = places["new"]
    found = []
    for line, code in (
        (f"validate w8 {MIRROR} {FAST} --junit {{new}}/j.xml --report {{new}}/pages", 0),
        (f"validate w8 other {MIRROR} {FAST}", 3),
        (f"validate w8 {MIRROR} {FAST} --report {{page}}/pages", 5),
        ("validate tinny", 2),
        (f"validate w8 --mirror {{new}}/none {CACHE}", 2),
    ):
        assert code == run(words(f"{line} --json {{new}}/v.json", places))
        document = parsed((new / "v.json").read_text())
        assert ("validate", code) == (document["command"], document["exit_code"])
        found.append(document)
        (new / "v.json").unlink()
    capsys.readouterr()
    assert 2 == run(words("validate w8 --json {new}/one --junit {new}/./one", places))
    assert "--json and --junit name the same file" in capsys.readouterr().err
    assert not (new / "one").exists()
    assert [1, 2, 1, 0, 0] == [len(document["results"]) for document in found]
    assert all(result["seconds"] > 0 for result in found[0]["results"])
    assert "unknown-model" == found[3]["error"]["code"]


def test_the_schema_refuses_what_is_wrong(capsys: Capture, places: Mapping[str, Path]) -> None:
    """A member too many, too few, of another kind, or that contradicts another."""
    capsys.readouterr()
    run(words(f"verify {{ckpt}} {{page}} {FAST} --json", places))
    good = parsed(capsys.readouterr().out)
    right, refused = good["results"]
    wrongs: list[tuple[str, Any]] = [
        ("schema_version", 2), ("schema_version", None), ("command", "inspect"), ("command", "x"),
        ("exit_code", 0), ("exit_code", 7), ("exit_code", "4"), ("exit_code", None),
        ("results", None), ("results", [1]), ("results", right), ("error", None), ("error", "no"),
        ("error", {}), ("error", {**good["error"], "code": "x"}), ("about", {}), ("more", 1),
        *(("results", [{**right, name: value}]) for name, value in (
            ("verdict", "good"), ("status", "ok"), ("status", "skip"), ("status", "error"),
            ("exit_code", 1), ("checks", [{"code": "x", "status": "pass", "detail": ""}]),
            ("checks", [{"code": "keys", "status": "passed", "detail": ""}]), ("more", 1),
            ("checks", None), ("sha256", 1), ("num_classes", "1000"), ("error", refused["error"]),
            ("seconds", "1"), ("forward", {}), ("layout", "timm"), ("conversion", {}),
        )),
        *(("results", [{**refused, name: value}]) for name, value in (
            ("status", "pass"), ("exit_code", 0), ("exit_code", 1), ("error", None),
        )),
    ]  # fmt: skip
    passing = {**good, "results": [right], "exit_code": 0, "error": None}
    conforms("verify", passing)
    whole = Draft202012Validator(schema())
    assert whole.is_valid(passing)
    for name, value in wrongs:
        wrong = copy.deepcopy(good) | {name: value}
        assert not validator("verify").is_valid(wrong), (name, value)
        assert name == "command" or not whole.is_valid(wrong), (name, value)
    for name in good:
        assert not validator("verify").is_valid({k: v for k, v in good.items() if k != name})
    for name in right:
        short = {key: value for key, value in right.items() if key != name}
        assert not validator("verify").is_valid({**passing, "results": [short]}), name


@pytest.mark.parametrize("command", ["verify", "convert", "fetch"])
def test_what_was_finished_is_told_after_ctrl_c(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """The first file, though the second was not finished."""
    file = small.write(tmp_path / "w8.pth", "official-zip", "w8")
    done = Report(path=str(file), asked="tiny")

    def twice(*asked: object, **options: object) -> Iterator[Report]:
        yield done
        raise KeyboardInterrupt

    reports = twice()
    module = "hornet_convert.api." + ("fetch" if command == "fetch" else "checkpoints")
    made = twice if command == "fetch" else lambda *asked, **options: next(reports)
    monkeypatch.setattr(f"{module}.{command}", made)
    names = ["tiny", "small"] if command == "fetch" else [str(file), str(tmp_path / "b.pth")]
    monkeypatch.chdir(tmp_path)
    assert 130 == run([command, *names, "--json"])
    document = parsed(capsys.readouterr().out)
    assert "interrupted" == document["error"]["code"]
    assert ["tiny" if command == "fetch" else str(file)] == [
        each["subject"] for each in document["results"]
    ]


@pytest.mark.parametrize("name", [None, *names()])
def test_the_schema_is_printed(capsys: Capture, name: str | None) -> None:
    """One JSON Schema document, of one command or all; what it refers to is in it."""
    assert 0 == run(["schema", *(name or "").split()])
    found = json.loads(capsys.readouterr().out)
    Draft202012Validator.check_schema(found)
    assert found == json.loads(json.dumps(schema(name)))
    referred = set(re.findall(r'"#/\$defs/([^"]*)"', json.dumps(found)))
    assert {each.replace("%20", " ") for each in referred} == found["$defs"].keys()
    for body in found["$defs"].values():
        assert "properties" not in body or body["additionalProperties"] is False


def test_every_schema_has_an_id_of_its_own() -> None:
    """So that all can be kept together, and each is found by its own."""
    found = {name: schema(name) for name in (None, *names())}
    by_id = {body["$id"]: name for name, body in found.items()}
    assert by_id.keys() >= {f"urn:hornet-convert:json:1{end}" for end in ("", ":cache-list")}
    assert len(by_id) == len(found)
    all_of_them = Registry().with_resources(
        (body["$id"], DRAFT202012.create_resource(body)) for body in found.values()
    )
    for name in COMMANDS:
        by_reference = {"$ref": found[name]["$id"]}
        is_document = Draft202012Validator(by_reference, registry=all_of_them).is_valid
        told = document(name, [])
        assert [is_document(told | {"command": each}) for each in (name, None)] == [True, False]


def test_an_unknown_schema_is_a_usage_error(capsys: Capture) -> None:
    """That names all there are."""
    assert 2 == run(["schema", "frobnicate"])
    shown = capsys.readouterr().err
    assert all(name in shown for name in names())
    assert {*names()} == {*COMMANDS, *FILES, NO_COMMAND}


def test_the_schema_knows_every_code() -> None:
    """Of errors, checks, and exit codes."""

    def codes(kind: type[errors.HornetConvertError]) -> Iterator[str]:
        yield kind.code
        for below in kind.__subclasses__():
            yield from codes(below)

    assert {ImageRefusedError.code, ProcessGroupError.code} < {*codes(errors.HornetConvertError)}
    assert {*codes(errors.HornetConvertError)} == {*get_args(errors.ErrorCode)}
    assert [*SENTENCES] == [*get_args(CheckCode)]
    exits = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert {*exits, 129, 143} == {*get_args(ExitCode)}


def test_the_documentation_shows_real_documents() -> None:
    """Every example in it follows the schema, and there is one of every shape."""
    text = (Path(__file__).parents[1] / "docs" / "json.md").read_text()
    shown = [parsed(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    assert {*COMMANDS} <= {document["command"] for document in shown}
