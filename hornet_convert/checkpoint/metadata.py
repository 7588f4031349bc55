"""What a file of this package says of itself: texts under names that nobody else uses.

In a safetensors file they stand in the header's metadata, in a `.pth` in a zip entry beside the
pickle, which torch does not look at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from hornet_convert.errors import MalformedError
from hornet_convert.text import printable

PREFIX: Final = "hornet_convert."
RECORD: Final = "hornet-convert.json"
MAX_RECORD: Final = 64 << 10  # bytes


def namespaced(facts: Mapping[str, str]) -> dict[str, str]:
    """Facts about a result under the names they have in its metadata."""
    return {f"{PREFIX}{name}": text for name, text in facts.items()}


def ours(metadata: Mapping[str, str]) -> dict[str, str]:
    """The facts of ours among a file's metadata, by their short names."""
    return {
        name.removeprefix(PREFIX): text
        for name, text in metadata.items()
        if name.startswith(PREFIX)
    }


def parse_record(raw: bytes) -> dict[str, str]:
    """The texts in the zip entry. Raises MalformedError if they are not a JSON object of texts."""
    try:
        record = json.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise MalformedError(
            "a record that is not JSON", where=f"zip entry {RECORD}", found=printable(str(error))
        ) from error
    if not isinstance(record, dict) or not all(isinstance(text, str) for text in record.values()):
        raise MalformedError("a record that is not a table of strings", where=f"zip entry {RECORD}")
    return record
