"""What holds for every test: nothing depends on how busy the machine is."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# The same examples every time, and no clock: a busy machine generates and runs them slowly.
settings.register_profile(
    "suite",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("suite")
