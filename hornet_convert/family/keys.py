"""The keys that each layout's own code expects, as lists: facts, not made by the mapping table.

`data/keys.json` says, for plain models and for those with global-local filters, what each tensor is
called in the `reference`, `official` and `openmmlab` layouts: read off the state dicts of our
model, of the authors' code and of OpenMMLab's. Every HorNet has the same keys, whatever its width.
What `layouts.py` translates is held to these lists wherever a result is proven.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Final, Literal

Column = Literal["reference", "official", "openmmlab", "backbone"]

_COLUMNS: Final[tuple[Column, ...]] = ("reference", "official", "openmmlab")
_CLASSIFIER: Final = frozenset({"head.fc.weight", "head.fc.bias"})
_NOT_IN_BACKBONE: Final = _CLASSIFIER | {"head.norm.weight", "head.norm.bias"}


def expected_keys(layout: Column, filters: bool, classifier: bool) -> dict[str, str]:
    """Reference name by key, of every tensor that the code of a layout expects, and no other.

    In the order of the computation. `backbone` is the official layout without final norm and head.
    `filters` and `classifier` say whether the model has global-local filters, and a classifier.
    """
    backbone = layout == "backbone"
    column = _COLUMNS.index("official" if backbone else layout)
    left_out = _NOT_IN_BACKBONE if backbone else frozenset() if classifier else _CLASSIFIER
    rows = _rows()["filtered" if filters else "plain"]
    return {row[column]: row[0] for row in rows if row[0] not in left_out}


@cache
def _rows() -> dict[str, list[tuple[str, str, str]]]:
    text = resources.files("hornet_convert").joinpath("data", "keys.json").read_text("utf-8")
    rows: dict[str, list[tuple[str, str, str]]] = json.loads(text)
    return rows
