"""What a request makes of the event loop from its decision to the provider and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.latency.upstream import N_CHUNKS
from service.completion.completion import Completion
from service.providers.clients import ProviderClients
from service.providers.openai_compatible import OpenAICompatibleClient
from tests.counting import Counts, counting
from tests.instant_provider import instant_provider
from tests.service.completion.test_completion import query
from tests.service.world import MEDIUM, opened

N_REQUESTS = 10


@pytest.fixture
def base_url() -> Iterator[str]:
    with instant_provider() as url:
        yield url


@pytest.mark.parametrize(
    ("stream", "limits"),
    [
        # Tasks: aiohttp's to send the request, those that log decision and outcome, and those of the groups
        # in which they are written. A provider that answers within a moment needs fewer on an idle machine.
        # Timers: the deadline, and the moment in which the decision waits to be written with the outcome.
        (False, Counts(tasks=6, timers=2, timeouts=1)),
        # Timers in place of the deadline: silence, the next event, the first content, the next content. The
        # time-out is for the end of the connection after the last event.
        (True, Counts(tasks=6, timers=6, timeouts=1)),
    ],
)
async def test_a_call_has_no_more_tasks_and_timers(
    tmp_path: Path, base_url: str, stream: bool, limits: Counts
) -> None:
    calling = ProviderClients({"openai": OpenAICompatibleClient({}, lambda: datetime.now(UTC))})
    async with opened(tmp_path, [replace(MEDIUM, base_url=base_url)], calling=calling) as world:
        await _answered(world.parts.completion, "warm", stream=stream)
        async with counting() as counts:
            for number in range(N_REQUESTS):
                n_chunks = await _answered(world.parts.completion, f"counted-{number}", stream=stream)
    await calling.close()

    assert n_chunks == (N_CHUNKS if stream else 0)
    assert counts.per(N_REQUESTS).above(limits) == {}


async def _answered(completion: Completion, request_id: str, *, stream: bool) -> int:
    """Ask for an answer and read it; returns the number of its chunks with text."""
    messages = [{"role": "user", "content": request_id}]
    asked = query(request_id, messages=messages, model="medium", stream=stream)
    if not stream:
        assert (await completion.complete(asked)).body["choices"]
        return 0
    streaming = await completion.stream(asked)
    chunks = [chunk async for burst in streaming.bursts for chunk in burst]
    return sum(bool(c["delta"].get("content")) for chunk in chunks for c in chunk.body["choices"])
