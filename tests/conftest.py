"""What holds for every test.

Nothing depends on how busy the machine is, or how the run was started; what is written as JSON
follows its schema.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from hornet_convert.cli import output
from mutants.scenarios import here
from tests.documents import parsed

# In the background of a shell, or under nohup, these are ignored, and so they are by every child.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

# The same examples every time, and no clock: a busy machine generates and runs them slowly.
settings.register_profile(
    "suite",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
# To look for more: `pytest --hypothesis-profile explore`, on a machine that is not busy.
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _every_document_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a command writes as JSON in this process, to stdout or to a file."""
    written = output.as_json

    def checked(document: Mapping[str, Any]) -> str:
        text = written(document)
        if "$schema" not in document:
            parsed(text)
        return text

    monkeypatch.setattr(output, "as_json", checked)


@pytest.fixture(autouse=True)
def _loaded_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a written `.pth` be loaded in this process, which has torch, unless a test is `apart`."""
    if request.node.get_closest_marker("apart") is None:
        # With torch: not in the process that deals out the tests.
        from hornet_convert.model import forward, torch_load

        monkeypatch.setattr(forward, "loaded_apart", here(torch_load.contents))
