"""A short run of the mutation test; `make fuzz` does the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz import reader as fuzz_reader
from tests.reader import mutations

COUNT = 1400


def test_broken_files_are_refused_or_read_rightly(tmp_path: Path) -> None:
    """Every one of many broken files ends as it should, under a memory limit, without running."""
    counts, wrong = fuzz_reader.judge(tmp_path, seed=20220915, count=COUNT, jobs=1)
    assert [] == wrong
    slowest = counts.pop("slowest, in ms")
    assert COUNT == sum(counts.values())
    assert slowest < 10_000
    for container in ("zip", "legacy", "safetensors"):  # neither half of the judgement is idle
        assert counts[f"{container}: refused"] > 50
        assert any(f"{container}: read" in kind for kind in counts)


def test_the_judge_sees_wrong_tensors_and_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outcomes that are wrong are reported: other tensors, an exception, the canary."""
    rows = [
        {"base": "plain.zip", "number": 0, "result": "read", "digest": "x", "seconds": 0},
        {"base": "plain.legacy", "number": 1, "result": "failed", "error": "E", "seconds": 0},
    ]
    for row in rows:
        row |= {"wrapper": [], "prefix": ""}
    monkeypatch.setattr(fuzz_reader, "run", lambda *_: iter(rows))
    monkeypatch.setattr(mutations, "broken", lambda base, *_: base.read_bytes())
    (tmp_path / fuzz_reader.CANARY).touch()
    _, wrong = fuzz_reader.judge(tmp_path, 0, 2, 1)
    assert 3 == len(wrong)
    assert "other tensors" in wrong[0]
    assert "plain.legacy 1: E" in wrong[1]
    assert "canary" in wrong[2]
