"""One thread for each worker: the suite runs as many workers as there are cores. Reports, pages."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fixtures import small
from hornet_convert.api.checkpoints import verify
from hornet_convert.html.page import page
from hornet_convert.report.report import Report
from hornet_convert.report.trace import Deviation, Probe, Trace
from tests.verification.browser import Tab, browser, executable
from tests.verification.pages import write_all

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report on a right file, with everything in it."""
    path = small.write(tmp_path_factory.mktemp("good") / "in.pth", "openmmlab-legacy", "w8-gf")
    report = verify(path, probe=Probe(64), statistics=True)
    assert report, report.first_failure
    return report


@pytest.fixture(scope="session")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report on a file with a dead, a wild and a broken layer, and a diverging trace."""
    weights = small.tensors("w8-gf", "reference")
    weights["stages.2.blocks.7.mlp.fc1.weight"] *= 30
    weights["stages.2.blocks.12.gnconv.proj_out.weight"] *= 0
    weights["stages.1.blocks.1.norm2.weight"] *= 0.05
    weights["stages.3.blocks.1.gamma2"][3] = torch.nan
    path = tmp_path_factory.mktemp("bad") / "bad.pth"
    torch.save(weights, path)
    report = verify(path, forward=False, statistics=True)
    modules = ["stem", "stages.0.blocks.0", "stages.1.downsample", "stages.1.blocks.0", "head.fc"]
    relative = [0.0, 1e-15, 1e-4, 2.0, float("inf")]
    parts = tuple(Deviation(m, 4 * r, 4.0) for m, r in zip(modules, relative, strict=True))
    trace = Trace(parts, (64, 64), 0, 1, float32=Deviation("head.fc", float("nan"), 1.0))
    checks = tuple(
        replace(check, status="fail", detail="first to differ: stages.1.downsample", trace=trace)
        if check.code == "forward"
        else check
        for check in report.checks
    )
    return replace(report, checks=checks)


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory, bad: Report) -> dict[str, Path]:
    """A page of every kind, by name; the wild one has everything wrong, and no place to break."""
    made = write_all(tmp_path_factory.mktemp("pages"))
    wild = replace(bad, path="p" * 300, dangers=(("x" * 200, "y" * 200),), notes=("n" * 300,))
    made["wild"] = made["good"].with_name("wild.html")
    made["wild"].write_text(page(wild, {"Made": "m" * 300}))
    return made


@pytest.fixture(scope="session")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A tab of a headless browser."""
    path = executable()
    if path is None:
        pytest.skip("no Chromium or Chrome is installed: no page is rendered")
    with browser(path, tmp_path_factory.mktemp("profile")) as running:
        yield Tab(running)
