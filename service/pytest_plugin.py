"""Fixtures for other people's tests: a provider of canned answers, and a router that asks it.

pytest loads this file by its entry point at every start, so it imports nothing heavy.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from service.commands.jobs.mock.provider import Call, MockProvider

MODELS = ("mock-small", "mock-large")
START_TIMEOUT_S = 150.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LlmRouterMock:
    """A provider of canned answers.

    Args:
        url: its address; clients use `base_url`.
    """

    url: str
    _provider: MockProvider

    @property
    def base_url(self) -> str:
        """The base URL of OpenAI's clients; Anthropic's use `url`."""
        return f"{self.url}/v1"

    @property
    def calls(self) -> Sequence[Call]:
        """The requests of this test so far, the oldest first."""
        return tuple(self._provider.calls)

    def answer(self, *answers: str | dict[str, Any]) -> None:
        """Answer with these, the first that fits first; a text alone answers everything."""
        from service.commands.jobs.mock.canned import CannedAnswer

        entries = [{"text": answer} if isinstance(answer, str) else answer for answer in answers]
        self._provider.answer_with([CannedAnswer.model_validate(entry) for entry in entries])


@dataclass(frozen=True, slots=True)
class LlmRouter:
    """A router in a process of its own, whose models are those of the mock."""

    url: str
    mock: LlmRouterMock

    @property
    def base_url(self) -> str:
        """The base URL of OpenAI's clients; Anthropic's use `url`."""
        return f"{self.url}/v1"


@pytest.fixture(scope="session")
def _llm_router_mock_server() -> Iterator[MockProvider]:
    from service.commands.jobs.mock.canned import AnswersFile
    from service.commands.jobs.mock.provider import MockProvider

    provider = MockProvider(AnswersFile(models=MODELS))
    with _running(provider):
        yield provider


@pytest.fixture
def llm_router_mock(_llm_router_mock_server: MockProvider) -> LlmRouterMock:
    """A provider on loopback that answers `ok`, until the test says what it answers."""
    mock = LlmRouterMock(_llm_router_mock_server.url, _llm_router_mock_server)
    _llm_router_mock_server.calls.clear()
    mock.answer("ok")
    return mock


@pytest.fixture(scope="session")
def _llm_router_url(_llm_router_mock_server: MockProvider) -> Iterator[str]:
    from service.commands.jobs.mock.provider import router_settings
    from service.commands.jobs.replay.started_router import started_router

    settings = router_settings(_llm_router_mock_server.url, MODELS)
    with _running(started_router(settings)) as url:
        yield url


@pytest.fixture
def llm_router(_llm_router_url: str, llm_router_mock: LlmRouterMock) -> LlmRouter:
    """A router with temporary data on a free port, one for all tests, which asks `llm_router_mock`."""
    return LlmRouter(_llm_router_url, llm_router_mock)


@contextmanager
def _running(manager: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Keep something open on an event loop of a thread of its own."""
    loop, stack = asyncio.new_event_loop(), AsyncExitStack()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        entering = stack.enter_async_context(manager)
        yield asyncio.run_coroutine_threadsafe(entering, loop).result(START_TIMEOUT_S)
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(START_TIMEOUT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_TIMEOUT_S)
        loop.close()
