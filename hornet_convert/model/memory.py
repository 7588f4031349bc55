"""torch's failures to allocate, told apart from other errors: they say nothing of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

# torch reports the processor's memory by a bare RuntimeError; the words are its allocator's.
_WORDS: Final = ("can't allocate memory", "not enough memory", "cannot allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _WORDS)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raise MemoryError where torch reports that memory ran out; for `with` and as a decorator."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise MemoryError(str(error)) from error
        raise
