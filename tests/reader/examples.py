"""How hypothesis is used here: a number of examples, and no clock, since machines are shared."""

from __future__ import annotations

from hypothesis import HealthCheck, settings


def examples(count: int) -> settings:
    """Settings for a property that is tried on `count` examples."""
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])
