"""What the results of each command hold in JSON, and what is said of all of them together. Types.

`comparison/` and `inspect.py` have those of `compare` and `inspect`.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from hornet_convert.family import labels
from hornet_convert.family.layouts import Layout
from hornet_convert.report.claims import Kind
from hornet_convert.report.document import Result
from hornet_convert.report.verdict import Word

Averaged = Literal["taken", "present, not taken"]
"""Whether the averaged weights in a file were taken."""


class Reference(TypedDict):
    """The claim that a verdict rests on."""

    kind: Kind
    digits: str
    origin: str


class Danger(TypedDict):
    """A name that a plain `pickle.load` would import or call, and the reason not to."""

    name: str
    why: str


class Part(TypedDict):
    """How far apart the two outputs of one part of the network are; null for what is no number."""

    module: str
    absolute: float | None
    largest: float | None
    relative: float | None


class Forward(TypedDict):
    """The forward check, part by part."""

    image_size: list[int]
    seed: int
    batch: int
    tolerance: float
    first_diverging: str | None
    float32: float | None
    parts: list[Part]


class NotUsed(TypedDict):
    """A source that did not give the file, and why."""

    name: str
    url: str
    reason: str


class Source(TypedDict):
    """Where a fetched file came from."""

    name: str
    url: str
    from_cache: bool
    not_used: list[NotUsed]


class DriftFacts(TypedDict):
    """How far rounded weights move the outputs; null for what is no number."""

    dtype: str
    computed_in: str
    images: int
    image_size: int
    seed: int
    output: str
    largest: float | None
    rms: float | None
    top1_same: int | None
    top5_shared: int | None
    top5_of: int | None


class Weights(TypedDict):
    """The file that an ONNX graph has its weights in."""

    file: str
    sha256: str


class Conversion(TypedDict):
    """The written file; an ONNX model has more, and so has a folder for the Hub."""

    format: Literal["safetensors", "pth", "onnx"]
    layout: Literal["reference", "official", "openmmlab", "backbone"]
    model: str
    num_classes: int | None
    fingerprint: str
    edits: list[str]
    starts_fresh: list[str]
    drift: DriftFacts | None
    weights: NotRequired[Weights | None]
    outputs: NotRequired[list[str]]
    opset: NotRequired[int]
    ir_version: NotRequired[int]
    files: NotRequired[dict[str, str]]
    pushed: NotRequired[str | None]


class CheckpointResult(Result):
    """Everything known about one checkpoint; what is not known is null.

    `path` to `fingerprint` are of the source, `output` to `conversion` of the written file.
    """

    verdict: Word | None
    reference: Reference | None
    dangerous: bool
    dangers: list[Danger]
    path: str | None
    model: str | None
    asked: str | None
    layout: Layout | None
    container: str | None
    num_classes: int | None
    sha256: str | None
    fingerprint: str | None
    forward: Forward | None
    notes: list[str]
    ema: Averaged | None
    source: Source | None
    output: str | None
    output_sha256: str | None
    conversion: Conversion | None
    seconds: float | None


class PublishedResult(Result):
    """`list`: one of the nine. Parameters and FLOPs are computed, where not `published`."""

    name: str
    label: str
    file: str
    resolution: int
    pretraining: str
    parameters: int
    parameters_classes: int
    published_parameters_m: float
    published_parameters_right: bool
    flops: int
    published_flops: int | None
    published_flops_g: float
    top1: float | None
    top5: float | None
    errata: list[str]
    openmmlab_url: str
    official_urls: list[str]


Prediction = TypedDict(
    "Prediction",
    {"class": int, "synset": str | None, "label": str | None, "probability": float},
)
"""A class that an image may be of."""


class ImageResult(Result):
    """`predict`: one image, the most probable class first."""

    path: str
    predictions: list[Prediction]


class ModelFacts(TypedDict):
    """`predict`: the model that looked at all of the images."""

    model: str
    checkpoint: str
    num_classes: int
    resolution: int
    engine: Literal["torch", "onnxruntime"]


class AccuracyFacts(TypedDict):
    """How often a model was right, beside what is published; in per cent."""

    correct: int
    percent: float
    published: float | None
    difference: float | None
    standard_error: float
    difference_in_standard_errors: float | None


class SkippedImages(TypedDict):
    """What was left out of an evaluation: where, why, how many images that makes."""

    where: str
    reason: str
    images: int


class ConfusedClasses(TypedDict):
    """How many of `of` images of one class were taken for another."""

    truth: labels.Named
    predicted: labels.Named
    images: int
    of: int


class EvaluationResult(Result):
    """`eval`: one model on one set of labelled images."""

    checkpoint: str
    model: str
    data: str
    num_classes: int
    resolution: int
    available_images: int
    images: int
    classes: int
    top1: AccuracyFacts
    top5: AccuracyFacts
    confusions: list[ConfusedClasses]
    skipped_images: int
    skipped: list[SkippedImages]
    notes: list[str]
    processes: int
    device: str
    engine: str
    seconds: float


class CachedResult(Result):
    """`cache list` and `verify`: a file in the cache."""

    kind: Literal["download", "converted"]
    model: str
    source: str
    url: str
    path: str
    size: int
    sha256: str
    problem: str | None


class FreedResult(Result):
    """`cache clear` and `prune`: what went; `model` is null if all models were meant."""

    model: str | None
    files: int
    bytes: int


class CacheFacts(TypedDict):
    """`cache`: what the cache holds at the end, and what of it is unfinished."""

    cache: str
    files: int
    bytes: int
    unfinished: int
    unfinished_bytes: int


class PinFacts(TypedDict):
    """`pins`: where the trust record is, what was exported to, how many pins were stored."""

    trust_record: str
    output: str | None
    stored: int
