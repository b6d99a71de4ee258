"""The faults of a soak: what breaks, and how it is mended."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx

from benchmarks.latency import bodies
from benchmarks.soak.site import Site, frozen

OUTAGE_S = 5.0
N_HANGING_UP = 50
HOSTILE = b'{"model":"auto","messages":[{"role":"user","content":[' + b"1," * 1_000_000 + b"1]}]}"

Fault = Callable[[Site], Awaitable[None]]


async def freeze_postgresql(site: Site) -> None:
    await frozen(site.postgres_pids, OUTAGE_S)


async def kill_postgresql(site: Site) -> None:
    """The router starts it again."""
    for pid in site.postgres_pids[:1]:
        os.kill(pid, signal.SIGKILL)


async def freeze_provider(site: Site) -> None:
    await frozen([site.provider_pid(0)], OUTAGE_S)


async def kill_provider(site: Site) -> None:
    await site.kill_provider(1)
    await asyncio.sleep(OUTAGE_S)
    await site.start_provider(1)


async def kill_router(site: Site) -> None:
    await site.kill_router()
    await site.start_router()


async def restart_router(site: Site) -> None:
    await site.end_router()
    await site.start_router()


async def clients_hang_up(site: Site) -> None:
    """Fifty clients close their connections after the first bytes of a stream."""
    body = bodies.chat("Tell me a long story.", stream=True)
    async with httpx.AsyncClient(base_url=site.url, timeout=30.0) as client:

        async def hang_up() -> None:
            with suppress(httpx.HTTPError):
                async with client.stream("POST", bodies.CHAT, content=body, headers=JSON) as answer:
                    async for _ in answer.aiter_raw():
                        return

        await asyncio.gather(*(hang_up() for _ in range(N_HANGING_UP)))


async def hostile_body(site: Site) -> None:
    """Two megabytes of faults in one request."""
    with suppress(httpx.HTTPError):
        async with httpx.AsyncClient(base_url=site.url, timeout=30.0) as client:
            await client.post(bodies.CHAT, content=HOSTILE, headers=JSON)


JSON = {"Content-Type": "application/json"}
# Those that end the router come only in the first half: its memory is compared over the second.
OF_THE_ROUTER: tuple[Fault, ...] = (kill_router, restart_router)
OF_OTHERS: tuple[Fault, ...] = (
    freeze_postgresql,
    freeze_provider,
    clients_hang_up,
    kill_postgresql,
    hostile_body,
    kill_provider,
)


def faults_in_turn(n: int) -> list[Fault]:
    """As many faults as fit, in a fixed order; the second half leaves the router alive."""
    n_first = (n + 1) // 2
    every = [fault for pair in zip(OF_OTHERS, OF_THE_ROUTER * 3, strict=True) for fault in pair]
    first = [every[number % len(every)] for number in range(n_first)]
    return first + [OF_OTHERS[number % len(OF_OTHERS)] for number in range(n - n_first)]
