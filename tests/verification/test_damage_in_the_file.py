"""Damage in the file: the checkpoint itself is other than it was published.

Such a file agrees with itself. The forward check compares it with itself and passes, rightly, and
most checks have nothing to say; only a reference can tell. So: without one no damaged file may be
called more than consistent, with any one every damaged file has to fail.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fixtures import containers, small
from hornet_convert.api.checkpoints import convert, verify
from hornet_convert.checks.verify import against
from hornet_convert.conversion.request import Request
from hornet_convert.download.pins import Pin, claims_of
from hornet_convert.download.sources import Source
from hornet_convert.family.layouts import remap
from hornet_convert.report.claims import Claim, given
from hornet_convert.report.report import Report
from hornet_convert.report.trace import Probe
from tests.conversion.run import row
from tests.verification.damage import Weights, kinds

NAME = "w8-gf"
KINDS = tuple(kinds({}))

WEIGHTS: Weights = small.arrays(NAME, "reference")
OTHER: Weights = small.arrays(NAME, "reference", label="another")
NAMES = remap(WEIGHTS, "reference", "official").names


def _write(path: Path, weights: Weights) -> Path:
    """The authors' form of weights given by reference name."""
    named = {NAMES[key]: torch.tensor(array) for key, array in weights.items()}
    with path.open("wb") as file:
        containers.save_zip(containers.official(named), file)
    return path


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file as it was published."""
    return _write(tmp_path_factory.mktemp("right") / "right.pth", WEIGHTS)


@pytest.fixture(scope="module")
def claims(right: Path) -> Mapping[str, Claim]:
    """The same knowledge in every form it can come in."""
    whole = verify(right, forward=False)
    sha256, print_ = whole.sha256 or "", whole.fingerprint or ""
    source = Source("mirror", "/mirror")
    pin = Pin(NAME, "mirror", source.location, sha256, 1, print_, "2024-01-01")
    elsewhere = right.with_name("elsewhere")
    return {
        "a file": against(str(right), elsewhere),
        "a fingerprint": against(print_, elsewhere),
        "a SHA-256": given(sha256),
        "the first digits of a SHA-256": given(sha256[:8]),
        "a pin of the source it came from": claims_of([pin], NAME, source)[0],
        "the same pin's fingerprint": claims_of([pin], NAME, source)[1],
        "the mirror's index": Claim(sha256, "the mirror's index", authority="none"),
    }


def _word(report: Report) -> str:
    assert report.verdict is not None
    return report.verdict.word


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files(tmp_path: Path, claims: Mapping[str, Claim], kind: str) -> None:
    """Never more than consistent without a reference; failed with any, and the tensors named."""
    cases = list(kinds(OTHER)[kind](WEIGHTS))
    damage = cases[len(cases) // 2]
    path = _write(tmp_path / "in.pth", damage.done_to(WEIGHTS))
    alone = verify(path, probe=Probe(32))
    assert _word(alone) in ("consistent", "failed")
    assert row(alone, "reference").status == "not checked"
    assert row(alone, "forward").status == "pass"  # it compares the file with itself
    for known in claims.values():
        assert "failed" == _word(replace(alone, claims=(known,)))
    report = verify(path, claims=[claims["a file"]], forward=False)
    assert report.exit_code == 1
    text = row(report, "reference").detail
    assert f"{len(damage.changed)} tensor" in text or "every tensor" in text


def test_the_name_of_a_published_file_catches_damage(tmp_path: Path, right: Path) -> None:
    """A damaged file under its published name is not the file of that name."""
    digits = hashlib.sha256(right.read_bytes()).hexdigest()[:8]
    damage, *_ = kinds(OTHER)["one element"](WEIGHTS)
    name = f"hornet-x_3rdparty_in1k_20220915-{digits}.pth"
    named = _write(tmp_path / name, damage.done_to(WEIGHTS))
    assert "failed" == _word(verify(named, forward=False))


def test_what_a_safetensors_file_records_of_itself_catches_damage(
    tmp_path: Path, right: Path
) -> None:
    """Bytes changed in a converted file contradict the fingerprint in its own header."""
    result = Path(convert(right, Request(tmp_path / "out"), forward=False).output or "")
    data = bytearray(result.read_bytes())
    data[-2] ^= 1
    renamed = tmp_path / "renamed.safetensors"
    renamed.write_bytes(data)
    report = verify(renamed, forward=False)
    assert ["fingerprint"] == [c.code for c in report.checks if c.status == "fail"]


@pytest.mark.parametrize("form", ["official-zip", "official-legacy", "safetensors-official"])
def test_a_flipped_bit_without_a_reference(tmp_path: Path, form: small.Form) -> None:
    """A zip's CRC tells; in the other containers nothing can, and nothing claims to."""
    path = small.write(tmp_path / "in", form, NAME)
    data = bytearray(path.read_bytes())
    needle = small.arrays(NAME)["stages.2.3.pwconv1.weight"].tobytes()[:64]
    data[data.index(needle) + 1] ^= 1
    path.write_bytes(data)
    report = verify(path, probe=Probe(32))
    assert ("failed" if form == "official-zip" else "consistent") == _word(report)
