"""Mutated files and killed processes, for as long as one likes: `make fuzz`."""

from collections.abc import Mapping, Sequence


def report(counts: Mapping[str, int], wrong: Sequence[str]) -> bool:
    """Print how often each outcome came up, and a line on each that is wrong; whether any is."""
    for outcome, count in sorted(counts.items()):
        print(f"{count:9,} {outcome}")
    for line in wrong:
        print(f"WRONG: {line}")
    return bool(wrong)
