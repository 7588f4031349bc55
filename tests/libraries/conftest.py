"""What the tests against other libraries share: one thread, torchvision, shallow models."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hornet_convert.model import hornet

torch.set_num_threads(1)

try:
    import torchvision  # noqa: F401
except RuntimeError:
    # Beside a CPU build of torch its own operators are missing, and it does not import without.
    _operators: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for _name in ("nms", "qnms"):
        _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """One block a stage: tools that look at every block are slow."""
    monkeypatch.setattr(hornet, "DEPTHS", (1, 1, 1, 1))
