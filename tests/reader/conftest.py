"""What the tests of the reader share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test puts its checkpoint."""
    return tmp_path / "x.pth"
