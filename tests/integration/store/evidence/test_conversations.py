"""Feedback on whole conversations, on the fake and on PostgreSQL: shared, idempotent, withdrawable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from service.domain.arm import ArmSums
from service.domain.feedback import ConversationFeedback, ConversationLearned
from service.errors import UnknownRequest
from service.learning.learner import CONVERSATION_DECISIONS, Learner
from service.store.connection.pool import Database
from service.store.evidence.rebuild import evidence_differences
from tests.fakes_memory import FakeMemory
from tests.fakes_store import FakeStore
from tests.integration.stores import ENCODER, NOW, TENANT, Stores, a_decision, a_feedback, an_outcome

Conversation = tuple[Stores, Learner]


@pytest.fixture
async def conversation(stores: Stores, backing: FakeStore | Database) -> AsyncIterator[Conversation]:
    """Stores and a learner on them; at the end a rebuild must find no difference."""
    memory = FakeMemory(encoder=ENCODER, max_points_per_arm=100)
    yield stores, Learner(stores.evidence, memory, stores.journal, ENCODER)
    if isinstance(backing, Database):
        assert len(await evidence_differences(backing)) == 0


async def answer(
    stores: Stores, request_id: str, *, session_id: str = "s", after_s: int = 0, learn: bool = True
) -> None:
    decision = a_decision(request_id, learn=learn)
    options = replace(decision.query.options, session_id=session_id)
    decision = replace(
        decision,
        query=replace(decision.query, options=options),
        decided_at=NOW + timedelta(seconds=after_s),
    )
    await stores.journal.log_decision(decision)
    await stores.journal.log_outcome(an_outcome(decision), [])


def score_of(score: float | None, *, session_id: str = "s", tenant: str = TENANT) -> ConversationFeedback:
    return ConversationFeedback(tenant, session_id, score, None, NOW + timedelta(minutes=1))


def statuses(learned: ConversationLearned) -> dict[str, str]:
    return {each.request_id: each.status for each in learned.learned}


def rated(stores: Stores) -> ArmSums:
    """The arm's ratings, without the cost of its answers."""
    known = stores.evidence.sums(TENANT)["small"]
    return ArmSums(n=known.n, reward_sum=known.reward_sum)


async def test_every_decision_of_a_conversation_gets_an_equal_share(conversation: Conversation) -> None:
    stores, learner = conversation
    for i in range(4):
        await answer(stores, f"r{i}", after_s=i)
    await answer(stores, "other", session_id="another")

    learned = await learner.learn_conversation(score_of(0.5))

    assert learned.weight == 0.25
    assert statuses(learned) == {f"r{i}": "applied" for i in (3, 2, 1, 0)}
    assert rated(stores) == ArmSums(n=Decimal(1), reward_sum=Decimal("0.5"))
    record = await stores.journal.record(TENANT, "r0")
    assert record is not None
    assert [(e["session_id"], e["weight"], e["score"]) for e in record["feedback"]] == [("s", 0.25, 0.5)]


async def test_the_same_score_again_changes_nothing_and_another_revises(conversation: Conversation) -> None:
    stores, learner = conversation
    for i in range(2):
        await answer(stores, f"r{i}", after_s=i)
    await learner.learn_conversation(score_of(0.5))

    assert set(statuses(await learner.learn_conversation(score_of(0.5))).values()) == {"duplicate"}
    assert set(statuses(await learner.learn_conversation(score_of(1.0))).values()) == {"revised"}
    assert rated(stores) == ArmSums(n=Decimal(1), reward_sum=Decimal(1))


async def test_a_conversation_that_grew_is_shared_again(conversation: Conversation) -> None:
    stores, learner = conversation
    await answer(stores, "r0")
    await learner.learn_conversation(score_of(0.5))
    await answer(stores, "r1", after_s=1)

    learned = await learner.learn_conversation(score_of(0.5))

    assert statuses(learned) == {"r0": "revised", "r1": "applied"}
    assert rated(stores) == ArmSums(n=Decimal(1), reward_sum=Decimal("0.5"))


async def test_a_score_of_a_request_itself_is_kept(conversation: Conversation) -> None:
    stores, learner = conversation
    for i in range(2):
        await answer(stores, f"r{i}", after_s=i)
    await learner.learn(a_feedback(1.0, "r0"))

    learned = await learner.learn_conversation(score_of(0.0))

    assert statuses(learned) == {"r0": "kept", "r1": "applied"}
    assert rated(stores) == ArmSums(n=Decimal("1.5"), reward_sum=Decimal(1))


async def test_a_request_may_be_rated_after_its_conversation(conversation: Conversation) -> None:
    stores, learner = conversation
    for i in range(2):
        await answer(stores, f"r{i}", after_s=i)
    await learner.learn_conversation(score_of(0.0))

    assert (await learner.learn(a_feedback(0.0, "r0"))).status == "revised"
    assert rated(stores) == ArmSums(n=Decimal("1.5"), reward_sum=Decimal(0))


async def test_withdrawing_removes_only_the_score_of_the_conversation(
    conversation: Conversation,
) -> None:
    stores, learner = conversation
    for i in range(3):
        await answer(stores, f"r{i}", after_s=i)
    await learner.learn(a_feedback(1.0, "r0"))
    await learner.learn_conversation(score_of(0.0))

    learned = await learner.learn_conversation(score_of(None))

    assert statuses(learned) == {"r0": "kept", "r1": "withdrawn", "r2": "withdrawn"}
    assert rated(stores) == ArmSums(n=Decimal(1), reward_sum=Decimal(1))
    assert statuses(await learner.learn_conversation(score_of(None)))["r1"] == "duplicate"


async def test_only_the_newest_decisions_with_learning_on_share(conversation: Conversation) -> None:
    stores, learner = conversation
    for i in range(CONVERSATION_DECISIONS + 2):
        await answer(stores, f"r{i}", after_s=i)
    await answer(stores, "quiet", after_s=1_000, learn=False)

    learned = await learner.learn_conversation(score_of(1.0))

    assert set(statuses(learned)) == {f"r{i}" for i in range(2, CONVERSATION_DECISIONS + 2)}
    assert rated(stores).n == Decimal(1)


async def test_a_session_id_with_nul_is_found_as_it_was_stored(conversation: Conversation) -> None:
    stores, learner = conversation
    await answer(stores, "r0", session_id="s\0")

    assert statuses(await learner.learn_conversation(score_of(1.0, session_id="s\0"))) == {"r0": "applied"}


@pytest.mark.parametrize("feedback", [score_of(1.0, session_id="nobody"), score_of(1.0, tenant="other")])
async def test_feedback_on_an_unknown_conversation_is_rejected(
    conversation: Conversation, feedback: ConversationFeedback
) -> None:
    stores, learner = conversation
    await answer(stores, "r0")

    with pytest.raises(UnknownRequest):
        await learner.learn_conversation(feedback)
