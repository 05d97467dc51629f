"""What `counting` finds is told in full, and nothing else is counted."""

import pytest

from tests.metrics.alone import alone

pytest.register_assert_rewrite("tests.metrics.counting")

__all__ = ["alone"]
