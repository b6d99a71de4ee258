"""Clients at a steady rate, and what the router acknowledged to them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import httpx
import numpy as np

from benchmarks.latency import bodies

RATED_SHARE = 0.5
STREAMED_SHARE = 0.3
MAX_THINKING_S = 5.0  # between an answer and its rating
TIMEOUT_S = 60.0


@dataclass(slots=True)
class Acknowledged:
    """What a client was told is done.

    Args:
        answers: ids of requests whose answer arrived whole.
        scores: by request id; a rating whose acknowledgement was lost is in neither.
        refused: the number of answers by their status; 0: the connection broke.
    """

    answers: set[str] = field(default_factory=set)
    scores: dict[str, float] = field(default_factory=dict)
    refused: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class SteadyLoad:
    """Sends requests at a rate, whatever becomes of them, and rates half of the answers once.

    Args:
        rate: requests a second.
    """

    url: str
    rate: float
    rng: np.random.Generator
    acknowledged: Acknowledged = field(default_factory=Acknowledged)
    n_sent: int = 0
    _clients: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, seconds: float) -> None:
        """Send for so long; return when the last client is done."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
        async with httpx.AsyncClient(base_url=self.url, timeout=TIMEOUT_S, limits=limits) as http:
            began, prompts = time.monotonic(), self._prompts()
            for number in count():
                due_at = began + number / self.rate
                if due_at > began + seconds:
                    break
                await asyncio.sleep(max(due_at - time.monotonic(), 0.0))
                client = asyncio.create_task(self._client(http, f"soak-{number}", next(prompts)))
                self._clients.add(client)
                client.add_done_callback(self._clients.discard)
                self.n_sent += 1
            await asyncio.gather(*self._clients)

    def _prompts(self) -> Iterator[str]:
        """Half of them seen before."""
        texts = bodies.Texts(self.rng)
        seen = [texts.prompt(20) for _ in range(bodies.N_SEEN)]
        while True:
            yield seen[self.rng.integers(len(seen))]
            yield texts.prompt(20)

    async def _client(self, http: httpx.AsyncClient, request_id: str, prompt: str) -> None:
        stream, is_rated = self.rng.random(2) < (STREAMED_SHARE, RATED_SHARE)
        thinking_s, score = self.rng.uniform(0, MAX_THINKING_S), float(self.rng.integers(5)) / 4
        body = bodies.chat(prompt, stream=bool(stream))
        answer = await self._post(http, bodies.CHAT, body, request_id)
        if answer is None or (stream and not answer.endswith(b"data: [DONE]\n\n")):
            return
        self.acknowledged.answers.add(request_id)
        if is_rated:
            await asyncio.sleep(thinking_s)
            if await self._post(http, "/feedback", bodies.feedback(request_id, score)) is not None:
                self.acknowledged.scores[request_id] = score

    async def _post(
        self, http: httpx.AsyncClient, path: str, body: bytes, request_id: str | None = None
    ) -> bytes | None:
        """The body of a success."""
        headers = {"Content-Type": "application/json"}
        if request_id is not None:
            headers["X-Request-ID"] = request_id
        try:
            response = await http.post(path, content=body, headers=headers)
        except httpx.HTTPError:
            self.acknowledged.refused[0] += 1
            return None
        if response.is_success:
            return response.content
        self.acknowledged.refused[response.status_code] += 1
        return None
