"""Nothing but what a test has made is counted in it."""

from tests.metrics.alone import alone

__all__ = ["alone"]
