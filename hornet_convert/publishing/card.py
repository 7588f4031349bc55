"""The model card: what the weights are, what was checked of them, how they are used. Pure.

It says of nothing that it holds unless that was checked; what was not is *not checked, because …*.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from hornet_convert.checks.checks import SENTENCES
from hornet_convert.family import zoo
from hornet_convert.family.pretrained_cfg import ARXIV, PAPER, REPOSITORY
from hornet_convert.publishing.files import ONNX
from hornet_convert.publishing.told import published_as
from hornet_convert.report.report import Report
from hornet_convert.report.verdict import MEANINGS
from hornet_convert.text import printable

PLACEHOLDER: Final = "ORG/REPO"
DATASETS: Final = {"in1k": "imagenet-1k", "in21k": "imagenet-21k"}

_EDITS: Final = (
    (r"(\d+)to(\d+)px", r"the global-local filters were resized from images of \1 pixels to \2"),
    ("in1k-head", "of the ImageNet-21k classifier the 1000 rows of ImageNet-1k were taken"),
    ("no-head", "the classifier was left out"),
    ("backbone", "the classifier and the final norm were left out"),
    ("float32|float16|bfloat16", r"the weights were rounded to \g<0>, but for the filters"),
)


def card(
    told: Report,
    source: Mapping[str, Any],
    digests: Mapping[str, str],
    *,
    chosen: bool,
    repository: str | None,
) -> str:
    """The text of README.md.

    `told` is what others may know of the conversion, `source` what the record says of its source,
    `digests` the SHA-256 of each file before the card, `chosen` as for `published_as`; `repository`
    is ORG/REPO, None if it is not known yet.
    """
    made = told.conversion or {}
    architecture = zoo.architecture_of(made["model"])
    row, classes = published_as(told, chosen), made["num_classes"]
    nine = zoo.BY_NAME.get(architecture.name)
    measured = row is not None and row.top1 is not None and not made["edits"]
    return _TEMPLATES.get_template("card.md.j2").render(
        row=row,
        nine=nine,
        title=f"HorNet ({architecture.name})" if nine is None else nine.label,
        architecture=architecture,
        timm_name=zoo.timm_name(architecture),
        classes=classes,
        parameters=architecture.parameters(classes),
        edits=[_in_words(edit) for edit in made["edits"]],
        drift=made["drift"],
        told=told,
        source={"url": None, **source},
        made=made,
        figures=measured,
        dataset=None if row is None else DATASETS[row.dataset],
        checks=told.checks,
        verdict=told.verdict,
        digests=digests,
        onnx=ONNX in digests,
        repository=repository or PLACEHOLDER,
        paper=PAPER,
        arxiv=ARXIV,
        authors=REPOSITORY,
    )


def _in_words(edit: str) -> str:
    known = [(p, words) for p, words in _EDITS if re.fullmatch(p, edit)]
    return re.sub(*known[0], edit) if known else edit


def _code(text: object) -> str:
    """Text from a file or a user as code, in which Markdown and HTML mean nothing."""
    plain = printable(str(text), 1000).replace("`", "'").replace("|", "¦")
    return f"`{plain}`"


def _plain(text: str) -> str:
    """A sentence that may quote a file, without what Markdown or HTML would make of it."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", printable(text, 2000))


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


_TEMPLATES: Final = Environment(
    loader=PackageLoader("hornet_convert.publishing"),
    autoescape=False,  # noqa: S701 - it is Markdown: `code` and `plain` see to what others wrote
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.filters |= {"code": _code, "plain": _plain, "yaml": _quoted}
_TEMPLATES.globals |= {"meanings": MEANINGS, "sentences": SENTENCES}
