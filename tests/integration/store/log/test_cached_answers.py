"""The contract of shared answers, on the fake and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import numpy as np
import pytest

from service.domain.cached_answer import CachedAnswer, KeptQuestion, Question
from service.domain.conversation import ConversationState
from service.domain.ports import AnswerStore
from service.store.connection.pool import Database
from service.store.log.cached_answers import PostgresAnswerStore
from tests.fakes_answers import FakeAnswerStore
from tests.fakes_store import FakeStore
from tests.integration.stores import NOW, TENANT

LATER = NOW + timedelta(minutes=1)
STATE = ConversationState("small", "openai", 0, 1, None, UUID(int=7), NOW)


@pytest.fixture
def answers(backing: FakeStore | Database) -> AnswerStore:
    return FakeAnswerStore(backing) if isinstance(backing, FakeStore) else PostgresAnswerStore(backing)


def an_answer(n: int, *, minutes: int = 5, question: Question | None = None) -> CachedAnswer:
    body = {"choices": [{"message": {"content": f"NUL \0 and “{n}”"}}]}
    expires_at = NOW + timedelta(minutes=minutes)
    return CachedAnswer(TENANT, bytes([n]) * 32, f"r-{n}", "small", body, expires_at, STATE, question)


def a_question(text: str, scope: bytes = b"s") -> Question:
    return Question(scope, text, np.array([0.6, 0.8], dtype=np.float32), "minilm")


async def test_an_answer_comes_back_as_it_was_until_it_expires(answers: AnswerStore) -> None:
    await answers.keep(an_answer(1))

    assert await answers.find(TENANT, an_answer(1).key, LATER) == an_answer(1)
    assert await answers.find(TENANT, an_answer(1).key, an_answer(1).expires_at) is None
    assert await answers.find(TENANT, an_answer(2).key, LATER) is None
    assert await answers.find("another", an_answer(1).key, LATER) is None


async def test_the_newest_answer_to_a_request_replaces_the_older_one(answers: AnswerStore) -> None:
    await answers.keep(an_answer(1))
    await answers.keep(replace(an_answer(1), request_id="newer", conversation=None))

    found = await answers.find(TENANT, an_answer(1).key, LATER)

    assert found is not None
    assert (found.request_id, found.conversation, await answers.count(TENANT)) == ("newer", None, 1)


async def test_the_questions_of_a_scope_are_found_newest_first(answers: AnswerStore) -> None:
    await answers.keep(an_answer(1, minutes=5, question=a_question("old")))
    await answers.keep(an_answer(2, minutes=6, question=a_question("naïve “new”")))
    await answers.keep(an_answer(3, minutes=7, question=a_question("other", b"t")))
    await answers.keep(an_answer(4, minutes=7))

    found = await answers.near(TENANT, b"s", LATER, 10)

    assert [(kept.key, kept.question.text) for kept in found] == [
        (an_answer(2).key, "naïve “new”"),
        (an_answer(1).key, "old"),
    ]
    assert isinstance(found[0], KeptQuestion)
    assert found[0].question.context.tolist() == pytest.approx([0.6, 0.8])
    assert [kept.question.text for kept in await answers.near(TENANT, b"s", LATER, 1)] == ["naïve “new”"]
    assert await answers.near("another", b"s", LATER, 10) == []


async def test_pruning_deletes_what_is_expired_and_the_oldest_beyond_the_limit(answers: AnswerStore) -> None:
    for n in range(1, 6):
        await answers.keep(an_answer(n, minutes=n))

    pruned = await answers.prune(NOW + timedelta(minutes=1), 2)

    left = [n for n in range(1, 6) if await answers.find(TENANT, an_answer(n).key, NOW) is not None]
    assert (pruned, left) == (3, [4, 5])


async def test_clearing_deletes_every_answer_of_its_tenant(answers: AnswerStore) -> None:
    await answers.keep(an_answer(1))
    await answers.keep(replace(an_answer(2), tenant="another"))

    assert (await answers.clear(TENANT), await answers.count(TENANT)) == (1, 0)
    assert await answers.count("another") == 1
