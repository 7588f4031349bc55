"""What conversions give stays what it was, byte for byte."""

from pathlib import Path

import pytest

from fixtures import results, small


@pytest.mark.parametrize("case", tuple(results.cases()), ids=lambda case: case.name)
def test_results_are_those_on_record(tmp_path: Path, case: results.Case) -> None:
    """Order, places and bytes of the tensors, in every layout and format and with edits."""
    path = tmp_path / "in"
    small.write(path, case.form, case.model, num_classes=case.num_classes)
    assert results.recorded("small")[case.name] == results.result_of(path, case.options)


def test_the_digest_tells_results_apart_and_not_their_metadata(tmp_path: Path) -> None:
    """One bit of a tensor changes it; what the file says of itself does not."""
    path = small.write(tmp_path / "in.safetensors", "safetensors-official", "w8")
    data = bytearray(path.read_bytes())
    before = results.digest_of(path)
    other = data.replace(b'"format":"pt"', b'"format":"np"')
    assert other != data
    path.write_bytes(other)
    assert before == results.digest_of(path)
    data[-1] ^= 1
    path.write_bytes(data)
    assert before != results.digest_of(path)
