"""What README and docs/ tell a reader to do and no test can: each with the reason.

Such a command is still parsed by the program it calls if that is ours, and of such a program every
import and every name imported has to be there.
"""

from __future__ import annotations

import re

# Start of a command, or of a line in a Python block, as a regular expression: why it is not run.
UNRUN = {
    r"(python -m )?pip install ": "installs from the package index",
    r"make (demo|test|check|validate|bench|fuzz|mutants|docs|picture)\b": "a target: is there one?",
    r"python -c \"import hornet_convert\.timm": "starts a training script of timm's",
    r"cosign ": "a program that is not among the package's own dependencies",
    r"rsync |ssh ": "needs a second machine",
    r"torchrun ": "starts processes; tests/usage/test_evaluate.py does it",
    r"hornet-convert eval .*--device cuda": "needs a GPU",
    r"hornet-convert .* s3://": "needs a bucket",
    r"hornet-convert .*https://mirror\.example": "a host that does not exist",
    r"hornet-convert .*--signed-by": "needs a signature; tests/verification/test_statement.py",
    r"torch\.hub\.(list|load)\(\"hornet-convert/": "needs GitHub",
}


def reason(text: str) -> str | None:
    """Why a command or a Python block is not run; None if it is."""
    lines = text.splitlines()
    return next(
        (why for start, why in UNRUN.items() if any(re.match(start, line) for line in lines)), None
    )
