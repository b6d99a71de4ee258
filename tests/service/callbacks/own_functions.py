"""Callbacks as an operator writes them."""

from __future__ import annotations

import asyncio
import threading
from queue import Queue

from service.callbacks.report import RequestReport

seen: Queue[RequestReport] = Queue()
seen_async: Queue[RequestReport] = Queue()
release = threading.Event()
is_blocked = threading.Event()
NO_FUNCTION = 1


def keep(report: RequestReport) -> None:
    seen.put(report)


async def keep_async(report: RequestReport) -> None:
    await asyncio.sleep(0)
    seen_async.put(report)


def fail(report: RequestReport) -> None:
    raise KeyError("no such account")


def block(report: RequestReport) -> None:
    is_blocked.set()
    release.wait()


async def never_end(report: RequestReport) -> None:
    await asyncio.Event().wait()
