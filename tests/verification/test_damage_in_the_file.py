"""Damage in the file: the checkpoint itself is other than it was published.

Such a file agrees with itself. The forward check compares it with itself and passes, rightly, and
most checks have nothing to say; only a reference can tell. So: without one no damaged file may be
called more than consistent, with any one every damaged file has to fail.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from fixtures import containers, small
from hornet_convert.checkpoint.tensors import DTYPES, Storage, Tensor, dense_strides
from hornet_convert.conversion.convert import Request, convert
from hornet_convert.download.sources import Source
from hornet_convert.download.trust import Pin
from hornet_convert.family.layouts import remap
from hornet_convert.verification.fingerprint import fingerprint
from hornet_convert.verification.references import against, given, pinned
from hornet_convert.verification.report import Report
from hornet_convert.verification.trace import Probe
from hornet_convert.verification.verdict import Reference, judge
from hornet_convert.verification.verify import verify
from tests.verification.damage import Damage, Weights, kinds

NAME = "w8-gf"
KINDS = tuple(kinds({}))

WEIGHTS: Weights = small.arrays(NAME, "reference")
OTHER: Weights = small.arrays(NAME, "reference", label="another")
NAMES = remap(WEIGHTS, "reference", "official").names


class Fingerprints:
    """Fingerprints of damaged weights: tensors that are the same are digested once."""

    def __init__(self) -> None:
        storage = Storage(0, 1 << 40)
        self._tensors = {
            NAMES[key]: Tensor(DTYPES["F32"], a.shape, dense_strides(a.shape), 0, storage)
            for key, a in WEIGHTS.items()
        }
        self._digests = self._of(WEIGHTS)

    def of(self, damage: Damage) -> str:
        """The fingerprint."""
        return fingerprint(self._tensors, self._digests | self._of(damage.changed))

    def _of(self, weights: Weights) -> dict[str, str]:
        return {NAMES[key]: hashlib.sha256(a.tobytes()).hexdigest() for key, a in weights.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_keeps_the_fingerprint(kind: str) -> None:
    """Every case fails against the right fingerprint, and is at most consistent without it."""
    computed = Fingerprints()
    right = computed.of(Damage("nothing", {}))
    known = Reference(right, "a friend", "fingerprint")
    seen = set()
    for damage in kinds(OTHER)[kind](WEIGHTS):
        found = computed.of(damage)
        seen.add(found)
        assert "failed" == judge(False, None, found, NAME, [known]).word, damage.what
        assert "consistent" == judge(False, None, found, NAME, []).word
    assert seen
    assert "authentic" == judge(False, None, right, NAME, [known]).word


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
def references(right: Path) -> Mapping[str, Reference]:
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
        "a pin of the source it came from": pinned([pin], NAME, source)[0],
        "the same pin's fingerprint": pinned([pin], NAME, source)[1],
        "the mirror's index": Reference(sha256, "the mirror's index", vouches=False),
    }


def _word(report: Report) -> str:
    assert report.verdict is not None
    return report.verdict.word


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files(tmp_path: Path, references: Mapping[str, Reference], kind: str) -> None:
    """Never more than consistent without a reference; failed with any, and the tensors named."""
    count = sum(1 for _ in kinds(OTHER)[kind](WEIGHTS))
    damage = next(islice(kinds(OTHER)[kind](WEIGHTS), count // 2, None))
    path = _write(tmp_path / "in.pth", damage.done_to(WEIGHTS))
    alone = verify(path, probe=Probe(32))
    assert _word(alone) in ("consistent", "failed")
    rows = {check.code: check.status for check in alone.checks}
    assert "not checked" == rows["reference"]
    assert "pass" == rows["forward"]  # it compares the file with itself
    for known in references.values():
        assert "failed" == _word(replace(alone, references=(known,)))
    report = verify(path, references=[references["a file"]], forward=False)
    assert ("failed", 1) == (_word(report), report.exit_code)
    said = next(check.detail for check in report.checks if check.code == "reference")
    assert f"{len(damage.changed)} tensor" in said or "every tensor" in said


def test_the_name_of_a_published_file_catches_damage(tmp_path: Path, right: Path) -> None:
    """A damaged file under its published name is not the file of that name."""
    digits = hashlib.sha256(right.read_bytes()).hexdigest()[:8]
    damage = next(kinds(OTHER)["one element"](WEIGHTS))
    name = f"hornet-x_3rdparty_in1k_20220915-{digits}.pth"
    named = _write(tmp_path / name, damage.done_to(WEIGHTS))
    assert "failed" == _word(verify(named, forward=False))


def test_what_a_safetensors_file_records_of_itself_catches_damage(
    tmp_path: Path, right: Path
) -> None:
    """Bytes changed in a converted file contradict the fingerprint in its own header."""
    result = Path(convert(right, Request(tmp_path / "out", forward=False)).output or "")
    data = bytearray(result.read_bytes())
    data[-2] ^= 1
    renamed = tmp_path / "renamed.safetensors"
    renamed.write_bytes(data)
    report = verify(renamed, forward=False)
    assert "failed" == _word(report)
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
