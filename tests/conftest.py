"""What applies to all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.scheduling import ByFile


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    """Called where several processes run the tests (`pytest -n`)."""
    from tests.scheduling import ByFile

    return ByFile(config, log)
