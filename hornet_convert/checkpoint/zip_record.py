"""What a `.pth` of this package says of itself: an entry of texts beside the pickle.

It is to a `.pth` what the metadata is to a safetensors file. torch does not look at it.
"""

from __future__ import annotations

import json
from typing import Final

from hornet_convert.errors import MalformedError, printable

RECORD: Final = "hornet-convert.json"
MAX_RECORD: Final = 64 << 10  # bytes


def parse_record(raw: bytes) -> dict[str, str]:
    """The texts in the entry. Raises MalformedError if they are not a JSON object of texts."""
    try:
        record = json.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise MalformedError(
            "a record that is no JSON", where=f"zip entry {RECORD}", found=printable(str(error))
        ) from error
    if not isinstance(record, dict) or not all(isinstance(text, str) for text in record.values()):
        raise MalformedError("a record that is not a table of texts", where=f"zip entry {RECORD}")
    return record
