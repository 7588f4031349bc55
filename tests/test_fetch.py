"""fetch and validate from end to end, over loopback and from a directory, at full size once."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fixtures import small
from fixtures import zoo as embedded
from fixtures.serve import serve
from hornet_convert.api.fetch import Download, _problem, fetch
from hornet_convert.cli import run
from hornet_convert.conversion.provenance import checks_in
from hornet_convert.conversion.request import Request
from hornet_convert.download.cache import Cache
from hornet_convert.report.check import failed
from hornet_convert.report.report import Report
from tests.documents import only, parsed, provenance

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mirror with one of the nine at full size."""
    folder = tmp_path_factory.mktemp("mirror")
    embedded.build(folder, "tiny-gf", "official")
    return folder


@pytest.mark.full_size
def test_fetch_leaves_one_proven_file_and_its_provenance(
    mirror: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Named by the published stem and its own hash; the record says where it came from."""
    with serve(mirror) as url:
        options = ["--mirror", url, "--cache", str(tmp_path / "cache"), "--no-forward", "--json"]
        assert 0 == run(["fetch", "HorNet-T-GF", "--out", str(tmp_path / "out"), *options])
    result = only(capsys.readouterr().out)
    output = Path(result["output"])
    assert output.name.startswith("hornet-tiny-gf_3rdparty_in1k_20220915-")
    told = checks_in(provenance(output.with_suffix(".json").read_text()))
    assert "mirror" == told["source"]["name"]
    assert told["source"]["url"].startswith(url)
    assert {output.name, output.with_suffix(".json").name} == {
        path.name for path in output.parent.iterdir()
    }


@pytest.mark.full_size
def test_fetch_makes_an_onnx_model(mirror: Path, tmp_path: Path, capsys: Capture) -> None:
    """Beside the weights, under their published name."""
    options = [
        "--mirror",
        str(mirror),
        "--cache",
        str(tmp_path / "cache"),
        "--no-forward",
        "--json",
    ]
    out = ["--out", str(tmp_path / "out"), "--format", "onnx"]
    assert 0 == run(["fetch", "tiny-gf", *out, *options])
    result = only(capsys.readouterr().out)
    model = Path(result["output"])
    assert model.name.startswith("hornet-tiny-gf_3rdparty_in1k_20220915-")
    assert model.with_suffix(".safetensors").name == result["conversion"]["weights"]["file"]
    assert model.stat().st_size < 300_000
    assert 0 == run(["verify", "--ckpt", str(model), "--no-forward"])


def test_a_result_that_fails_says_nothing_against_its_source() -> None:
    """A file is set aside in the cache for what is wrong with itself."""
    for row, problem in (
        (failed("runtime", ""), None),
        (failed("values", "wrong"), "values: wrong"),
    ):
        assert _problem(Report(checks=(row,)), Request(Path())) == problem


@pytest.mark.full_size
def test_validate_tells_unreachable_from_failed(
    mirror: Path, tmp_path: Path, capsys: Capture
) -> None:
    """One model is there, one is not: exit 3, and the JUnit file has one skipped case."""
    files = ["--json", str(tmp_path / "v.json"), "--junit", str(tmp_path / "v.xml")]
    files += ["--report", str(tmp_path / "pages")]
    options = ["--mirror", str(mirror), "--source", "mirror", "--cache", str(tmp_path / "cache")]
    assert 3 == run(["validate", "tiny-gf", "small", "--no-forward", "--onnx", *options, *files])
    shown = capsys.readouterr().out
    assert "runtime" in shown
    assert "tiny-gf: pass" in shown
    assert "small: unreachable" in shown
    document = parsed((tmp_path / "v.json").read_text())
    assert ["error", "pass"] == sorted(result["status"] for result in document["results"])
    suite = ElementTree.parse(tmp_path / "v.xml").getroot()
    assert ("2", "0", "1") == (suite.get("tests"), suite.get("failures"), suite.get("skipped"))
    pages = {path.name: path.read_text() for path in (tmp_path / "pages").iterdir()}
    assert {"index.html", "tiny-gf.html", "small.html"} == pages.keys()
    assert "Weights by block" in pages["tiny-gf.html"]
    assert "1 consistent, 1 unreachable" in pages["index.html"]


@pytest.mark.full_size
def test_a_mirror_cannot_vouch_for_itself_nor_can_a_first_sight(
    mirror: Path, tmp_path: Path, capsys: Capture
) -> None:
    """At first a good file is consistent, though the index has its digest; then seen before.

    So is what it was converted to, by its fingerprint.
    """
    cache = ["--cache", str(tmp_path / "cache"), "--no-forward", "--json"]
    options = ["--mirror", str(mirror), "--out", str(tmp_path / "out")]
    verdicts = []
    for _ in range(2):
        assert 0 == run(["fetch", "tiny-gf", *options, *cache])
        result = only(capsys.readouterr().out)
        verdicts.append(result["verdict"])
    assert ["consistent", "seen before"] == verdicts
    assert 0 == run(["verify", "--ckpt", result["output"], "--require", "seen-before", *cache])
    verified = only(capsys.readouterr().out)
    assert "fingerprint" == verified["reference"]["kind"]
    assert verified["reference"]["origin"].startswith("the trust record (first seen here on 2")


@pytest.mark.full_size
def test_a_wrong_file_fails_and_says_both_digests(
    mirror: Path, tmp_path: Path, capsys: Capture
) -> None:
    """A mirror whose file is not the one its index lists: exit 1, the check named."""
    index = json.loads((mirror / "index.json").read_text())
    entry = index["files"][0]
    damaged = tmp_path / "mirror"
    damaged.mkdir()
    data = bytearray((mirror / entry["file"]).read_bytes())
    data[len(data) // 2] ^= 1
    (damaged / entry["file"]).write_bytes(data)
    (damaged / "index.json").write_text(json.dumps(index))
    options = [
        "--mirror",
        str(damaged),
        "--cache",
        str(tmp_path / "cache"),
        "--no-forward",
        "--json",
    ]
    assert 1 == run(["fetch", "tiny-gf", "--out", str(tmp_path / "out"), *options])
    result = only(capsys.readouterr().out)
    assert ("fail", None) == (result["status"], result["output"])
    assert {"code": "checksum", "status": "fail"}.items() <= result["checks"][0].items()
    assert entry["sha256"] in result["checks"][0]["detail"]


def test_averaged_weights_are_not_recorded_as_the_published_ones(tmp_path: Path) -> None:
    """After fetch --ema or --key, a plain fetch of the same file passes, and the other way."""
    folder = tmp_path / "mirror"
    row = small.published(folder, "training-zip", "w8")
    settings = Download(Cache.at(tmp_path / "cache"), (str(folder),), "mirror", forward=False)
    plain = Request(tmp_path / "out")
    averaged, by_key = replace(plain, ema=True), replace(plain, key="model_ema")
    fingerprints = []
    for request in (averaged, by_key, plain, averaged, plain):
        (report,) = fetch([row], settings, request)
        assert "pass" == report.status, report.first_failure
        fingerprints.append(report.fingerprint)
    assert fingerprints[0] == fingerprints[1] == fingerprints[3]
    assert fingerprints[2] == fingerprints[4] != fingerprints[0]
