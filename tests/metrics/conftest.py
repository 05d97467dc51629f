"""What `counting` finds is told in full."""

import pytest

pytest.register_assert_rewrite("tests.metrics.counting")
