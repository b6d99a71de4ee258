"""Shows the values of a failed check, as pytest does for a test."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.service.cases.checks")
