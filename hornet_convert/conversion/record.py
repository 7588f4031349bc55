"""What the record beside a result holds: an in-toto Statement of SLSA provenance. Types."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from hornet_convert.checkpoint.sniff import Container
from hornet_convert.conversion.request import Precision, Target
from hornet_convert.family.layouts import Layout
from hornet_convert.report.document import CheckRow
from hornet_convert.report.results import Averaged, Conversion, NotUsed, Reference
from hornet_convert.report.verdict import Word


class Digest(TypedDict):
    """A SHA-256 in hex."""

    sha256: str


class Subject(TypedDict):
    """A file that was made."""

    name: str
    digest: Digest


class Dependency(TypedDict):
    """A file that it was made of."""

    name: str
    digest: Digest
    uri: NotRequired[str]


class Parameters(TypedDict):
    """What was asked for; an ONNX model has two more."""

    format: Literal["safetensors", "pth", "onnx"]
    layout: Target
    head: str | int
    resolution: int | None
    dtype: Precision | None
    key: str | None
    ema: bool
    prefix: str | None
    single_file: NotRequired[bool]
    features: NotRequired[bool]


class BuildDefinition(TypedDict):
    """How it was made."""

    buildType: Literal["urn:hornet-convert:convert:v1"]
    externalParameters: Parameters
    resolvedDependencies: list[Dependency]


class Builder(TypedDict):
    """By which versions of what."""

    id: Literal["urn:hornet-convert"]
    version: dict[str, str]


class OnnxFacts(TypedDict):
    """The ONNX model in a repository."""

    sha256: str
    outputs: list[str]
    opset: int
    ir_version: int


class SourceRecord(TypedDict):
    """The file that the weights were in; what a fetch knows of it beside."""

    file: str
    sha256: str
    size: int
    container: Container
    model: str
    layout: Layout
    num_classes: int | None
    fingerprint: str | None
    verdict: Word | None
    reference: Reference | None
    wrapper: list[str]
    prefix: str
    ema: Averaged | None
    chosen_by: Literal["key", "exchanged", "ema", "only averaged", "plain"]
    name: NotRequired[str]
    url: NotRequired[str]
    from_cache: NotRequired[bool]
    not_used: NotRequired[list[NotUsed]]


class RecordedChecks(Conversion):
    """The result, its source, and what was checked; no verdict on edited weights."""

    file: str
    sha256: str
    verdict: NotRequired[Word | None]
    reference: NotRequired[Reference | None]
    source: SourceRecord
    checks: list[CheckRow]
    notes: list[str]
    onnx: NotRequired[OnnxFacts | None]


class Byproduct(TypedDict):
    """What the builder tells beyond the build."""

    name: Literal["hornet-convert"]
    annotations: RecordedChecks


class RunDetails(TypedDict):
    """The builder, and what it found."""

    builder: Builder
    byproducts: list[Byproduct]


class Predicate(TypedDict):
    """SLSA provenance, version 1."""

    buildDefinition: BuildDefinition
    runDetails: RunDetails


class Statement(TypedDict):
    """The record beside a result."""

    _type: Literal["https://in-toto.io/Statement/v1"]
    subject: list[Subject]
    predicateType: Literal["https://slsa.dev/provenance/v1"]
    predicate: Predicate
