"""What all tests of conversions share."""

from tests.threads import one_thread

__all__ = ["one_thread"]
