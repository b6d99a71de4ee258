"""The newest answers stay in memory within bounds."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from service.conversations import stored_responses
from service.conversations.stored_responses import RecentItems, StoredResponses, response_id_of
from service.domain.stored_response import StoredResponse
from tests.fakes import FakeResponseStore, FixedClock


class PrunedStore(FakeResponseStore):
    """Shows when it has been pruned."""

    def __init__(self) -> None:
        super().__init__()
        self.is_pruned = asyncio.Event()

    async def prune(self, before: datetime) -> int:
        n = await super().prune(before)
        self.is_pruned.set()
        return n


def a_response(clock: FixedClock, n: int, text: str = "x") -> StoredResponse:
    response = {"output": [{"id": f"msg_{n:032x}_0", "text": text}]}
    return StoredResponse("t", f"resp_{n:032x}", None, (), response, clock())


def test_the_oldest_answers_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_responses, "RECENT_BYTES", 1_000)
    clock = FixedClock()
    recent = RecentItems(clock)
    for n in range(10):
        recent.keep(a_response(clock, n, "x" * 200))

    assert [n for n in range(10) if recent.find("t", f"resp_{n:032x}")] == [7, 8, 9]


def test_an_answer_of_its_own_size_forgets_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_responses, "RECENT_BYTES", 1_000)
    clock = FixedClock()
    recent = RecentItems(clock)
    recent.keep(a_response(clock, 1))
    recent.keep(a_response(clock, 2, "x" * 2_000))
    recent.keep(a_response(clock, 3))

    assert [n for n in range(5) if recent.find("t", f"resp_{n:032x}")] == [3]


def test_a_replaced_answer_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_responses, "RECENT_BYTES", 1_000)
    clock = FixedClock()
    recent = RecentItems(clock)
    for _ in range(10):
        recent.keep(a_response(clock, 1, "x" * 200))
        recent.keep(a_response(clock, 2, "x" * 200))

    assert recent.find("t", f"resp_{1:032x}")


def test_an_answer_is_forgotten_after_an_hour() -> None:
    clock = FixedClock()
    recent = RecentItems(clock)
    recent.keep(a_response(clock, 1))

    clock.advance(3_599)
    assert recent.find("t", f"resp_{1:032x}")
    clock.advance(2)
    assert not recent.find("t", f"resp_{1:032x}")
    assert not recent.find("other", f"resp_{1:032x}")


async def test_responses_are_deleted_after_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_responses, "PRUNE_EVERY_S", 0.0)
    clock, store = FixedClock(), PrunedStore()
    responses = StoredResponses(store, clock, True, 10.0, RecentItems(clock))
    for n in range(2):
        assert await responses.keep(a_response(clock, n))
        clock.advance(6)

    pruning = asyncio.create_task(responses.prune_forever())
    await store.is_pruned.wait()
    pruning.cancel()
    assert [response_id for _, response_id in store.store.responses] == [f"resp_{1:032x}"]


@pytest.mark.parametrize(
    ("item_id", "made_by"),
    [
        (f"msg_{7:032x}_0", f"resp_{7:032x}"),
        (f"fc_{7:032x}_12", f"resp_{7:032x}"),
        (f"msg_{7:032x}_in3", f"resp_{7:032x}"),
        ("msg_68af4030592c81938ec0a5fbab4a3e9f05438e46b5f69a3b", None),
        ("msg_1", None),
        ("", None),
    ],
)
def test_the_id_of_an_item_names_its_response(item_id: str, made_by: str | None) -> None:
    assert response_id_of(item_id) == made_by
