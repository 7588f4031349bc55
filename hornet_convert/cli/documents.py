"""JSON documents on stdout; apart from `render`, so that no document waits for rich."""

from __future__ import annotations

import json
import sys
from typing import Any

from hornet_convert.verification.report import finite


def print_json(document: dict[str, Any]) -> None:
    """Write one JSON document to stdout."""
    sys.stdout.write(as_json(document))


def as_json(document: dict[str, Any]) -> str:
    """A JSON document as text, with its last line ended."""
    return json.dumps(finite(document), indent=2, allow_nan=False) + "\n"
