"""What applies to all tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import structlog

if TYPE_CHECKING:
    from tests.scheduling import ByFile


def pytest_configure() -> None:
    """Let the processes that tests start receive Ctrl-C, which a background job of a shell ignores."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _default_logs() -> Iterator[None]:
    """Undo what a command sets up in this process: its log goes to the captured stream of one test.

    Tracebacks are plain: those with local variables take a minute for an application.
    """
    structlog.configure(processors=_processors())
    yield
    structlog.reset_defaults()


def _processors() -> list[structlog.typing.Processor]:
    *processors, _ = structlog.get_config()["processors"]
    plain = structlog.dev.plain_traceback
    return [*processors, structlog.dev.ConsoleRenderer(colors=False, exception_formatter=plain)]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    """Share the tests among several processes (`pytest -n`)."""
    from tests.scheduling import ByFile

    return ByFile(config, log)
