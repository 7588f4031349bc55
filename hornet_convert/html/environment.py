"""The templates of all pages: their style within, and a policy under which nothing else loads."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from hornet_convert.errors import (
    EXIT_CHECK_FAILED,
    EXIT_REFUSED,
    EXIT_UNREACHABLE,
    HornetConvertError,
)
from hornet_convert.family import zoo
from hornet_convert.text import printable

# By which a page is known as ours.
GENERATOR: Final = '<meta name="generator" content="hornet-convert">'


_NAME: Final = re.compile(r"[^\s{}]+(\{.*\})?|and \d+ more")


def render(template: str, about: Mapping[str, str], **values: Any) -> str:
    """A whole page; `about` stands at its end: when it was made, and by which versions."""
    return TEMPLATES.get_template(template).render(about=about, **values)


def error_page(title: str, error: HornetConvertError, about: Mapping[str, str]) -> str:
    """The page of a command that could not do its work."""
    return render("error.html.j2", about, heading=title, error=error, word=word_for(error))


def word_for(error: HornetConvertError) -> str:
    """A word for a badge: what an error means for the thing that was looked at."""
    words = {EXIT_UNREACHABLE: "unreachable", EXIT_REFUSED: "refused", EXIT_CHECK_FAILED: "failed"}
    return words.get(error.exit_code, "error")


def pieces(text: str, separator: str = "; ") -> list[tuple[str, list[str]]]:
    """A sentence on what differs, part by part, where it is about many names: these one by one."""
    found = []
    for piece in text.split(separator):
        start, _, rest = piece.partition(": ")
        names = re.split(r", (?![^{]*\})", rest)
        many = len(names) > 3 and all(_NAME.fullmatch(name) for name in names)
        found.append((start, names) if many else (piece, []))
    return found


def _sentence(text: str) -> str:
    """What went wrong, with a capital and a full stop; the name of a model stays as it is."""
    first = text if text.partition(" ")[0] in zoo.BY_NAME else text[:1].upper() + text[1:]
    return first.removesuffix(".") + "."


def _shown(value: Any) -> Any:
    """What a template shows, before it is escaped: text from files is made printable."""
    return value if hasattr(value, "__html__") else printable(str(value), 4000)


TEMPLATES: Final = Environment(
    loader=PackageLoader("hornet_convert.html"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_shown,
    trim_blocks=True,
    lstrip_blocks=True,
)
STYLE: Final = TEMPLATES.get_template("style.css").render()
_DIGEST: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
TEMPLATES.filters["sentence"] = _sentence
TEMPLATES.globals |= {
    "generator": GENERATOR,
    "isfinite": math.isfinite,
    "pieces": pieces,
    "policy": POLICY,
    "style": STYLE,
}
