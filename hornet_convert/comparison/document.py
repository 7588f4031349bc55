"""What `compare` writes as JSON: types. Numbers that are infinite or undefined are null."""

from __future__ import annotations

from typing import TypedDict

from hornet_convert.comparison.difference import Difference
from hornet_convert.comparison.outcome import BlockChange, Look, Reshaped
from hornet_convert.report.document import Result
from hornet_convert.report.results import Danger


class SideFacts(TypedDict):
    """One of the two files; `fingerprint` is null unless it holds a complete HorNet."""

    path: str
    container: str
    layout: str | None
    model: str | None
    num_classes: int | None
    tensors: int
    sha256: str
    fingerprint: str | None
    damaged: list[str]
    dangerous: bool
    dangers: list[Danger]


class ChangeFacts(TypedDict):
    """A tensor of the same shape and other values or element type."""

    name: str
    dtype_a: str
    dtype_b: str
    difference: Difference
    same_as: str | None
    looks_like: Look


class ComparisonResult(Result):
    """`compare`: two files, and all tensors that are not the same in both."""

    equal: bool
    looks_like: Look
    sentence: str
    a: SideFacts
    b: SideFacts
    same: int
    missing: list[str]
    added: list[str]
    reshaped: list[Reshaped]
    changed: list[ChangeFacts]
    blocks: list[BlockChange]
