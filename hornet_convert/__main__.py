"""Where the program starts, as `hornet-convert` and as `python -m hornet_convert`.

Signals are caught before anything slow is imported.
"""

from __future__ import annotations

import os
import sys

from hornet_convert import interrupts

TYPE_CHECKING = False  # as in `interrupts`
if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Run the command line and exit with the documented code, never with a traceback."""
    _prepare_streams()
    signals = interrupts.catch()
    arguments = sys.argv[1:]
    interrupts.last_words.append(_last_words(arguments))
    interrupts.watch(signals)
    from hornet_convert.cli import run

    interrupts.end(run(arguments))


def _prepare_streams() -> None:
    """Make the standard streams safe to have and to write to.

    A closed descriptor 0 to 2 would be given to the next file, and what a library prints would land
    in that. Characters that the encoding of a stream lacks are escaped.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free one: this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", errors="backslashreplace"))  # noqa: PTH123, SIM115
        else:
            stream.reconfigure(errors="backslashreplace")


def _last_words(arguments: list[str]) -> Callable[[int], tuple[int, bytes]]:
    """What is said if a signal comes, and to whom; nothing can be imported any more then."""
    from hornet_convert.errors import InterruptedByUserError
    from hornet_convert.report.document import (
        command_of,
        document,
        finite,
        so_far,
        wants_document,
    )

    downloads = arguments and arguments[0] in ("fetch", "validate")
    hint = "Run the same command again to resume the downloads." if downloads else None
    error = InterruptedByUserError("interrupted", hint=hint)
    if not wants_document(arguments):
        text = f"Error: {error.message}\n" + (f"Hint: {hint}\n" if hint else "")
        return lambda code: (2, text.encode())
    import json

    told = document(command_of(arguments), (), error=error)

    def words(code: int) -> tuple[int, bytes]:
        facts = finite({**told, "exit_code": code, "results": [*so_far]})
        return 1, (json.dumps(facts, indent=2) + "\n").encode()

    return words


if __name__ == "__main__":
    main()
