"""The contract of conversation states, on the fake and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from service.domain.answer import Outcome
from service.domain.conversation import ConversationState, ConversationStep, Place
from service.domain.decision import Decision
from service.domain.ports import ConversationStates
from service.domain.query import Turn
from service.errors import RequestConflict
from service.store.connection.pool import Database
from service.store.log.conversations import PostgresConversationStates
from tests.fakes_store import FakeConversationStates, FakeStore
from tests.integration.stores import NOW, TENANT, Stores, a_decision, an_attempt, an_outcome

KEY = b"\x00 key"
LONG_AGO = NOW - timedelta(days=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
def conversation_states(backing: FakeStore | Database) -> ConversationStates:
    return (
        FakeConversationStates(backing)
        if isinstance(backing, FakeStore)
        else PostgresConversationStates(backing)
    )


def in_conversation(
    request_id: str = "r1", *, turn: int = 1, after_s: float = 0.0, key: bytes | None = KEY, **changes: Any
) -> Decision:
    decision = a_decision(request_id)
    step = ConversationStep(turn=turn, vendor="acme", n_messages_of_other_vendors=0, holdout=None)
    query = replace(decision.query, turn=Turn(key=key, place=Place(b"opening", b"asked", b"earlier")))
    decided_at = NOW + timedelta(seconds=after_s)
    return replace(decision, query=query, step=step, decided_at=decided_at, **changes)


async def found(
    conversation_states: ConversationStates, key: bytes, since: datetime
) -> ConversationState | None:
    return (await conversation_states.find(TENANT, [key], since)).get(key)


async def test_an_unknown_conversation_has_no_state(conversation_states: ConversationStates) -> None:
    assert await found(conversation_states, KEY, LONG_AGO) is None


async def test_a_logged_decision_sets_the_state_of_its_conversation(
    stores: Stores, conversation_states: ConversationStates
) -> None:
    decision = in_conversation()
    step = ConversationStep(
        turn=3, vendor="acme", n_messages_of_other_vendors=7, holdout=True, previous_arm_id="large", gain=0.25
    )
    await stores.journal.log_decision(replace(decision, step=step))

    assert await found(conversation_states, KEY, LONG_AGO) == ConversationState(
        arm_id="small",
        vendor="acme",
        n_messages_of_other_vendors=7,
        turns=3,
        holdout=True,
        decision_id=decision.decision_id,
        updated_at=NOW,
    )


async def test_a_request_without_conversation_sets_no_state(
    stores: Stores, conversation_states: ConversationStates
) -> None:
    await stores.journal.log_decision(replace(in_conversation(), step=None))

    assert await found(conversation_states, KEY, LONG_AGO) is None


async def test_the_newest_decision_sets_the_state_in_any_order_of_writing(
    stores: Stores, conversation_states: ConversationStates
) -> None:
    newer = in_conversation("r2", turn=2, after_s=5.0, arm_id="large")
    await stores.journal.log_decision(newer)
    await stores.journal.log_decision(in_conversation("r1"))

    conversation = await found(conversation_states, KEY, LONG_AGO)

    assert conversation is not None
    assert (conversation.arm_id, conversation.turns, conversation.decision_id) == (
        "large",
        2,
        newer.decision_id,
    )


async def test_tenants_and_keys_have_states_of_their_own(
    stores: Stores, conversation_states: ConversationStates
) -> None:
    await stores.journal.log_decision(in_conversation("r1"))
    await stores.journal.log_decision(in_conversation("r2", key=b"other", arm_id="large"))

    assert await conversation_states.find("other", [KEY], LONG_AGO) == {}
    other = await found(conversation_states, b"other", LONG_AGO)
    assert other is not None
    assert other.arm_id == "large"


async def test_the_second_decision_of_a_request_id_sets_no_state(
    stores: Stores, conversation_states: ConversationStates
) -> None:
    first = in_conversation("r1")
    await stores.journal.log_decision(first)

    with pytest.raises(RequestConflict):
        await stores.journal.log_decision(in_conversation("r1", after_s=5.0, arm_id="large"))

    conversation = await found(conversation_states, KEY, LONG_AGO)
    assert conversation is not None
    assert conversation.decision_id == first.decision_id


async def test_an_answer_of_another_arm_moves_the_conversation(
    stores: Stores, conversation_states: ConversationStates
) -> None:
    decision = in_conversation()
    await stores.journal.log_decision(decision)
    before = decision.conversation
    assert before is not None
    moved = replace(
        before, arm_id="large", vendor="other", n_messages_of_other_vendors=4, updated_at=NOW + SECOND
    )
    outcome = an_outcome(decision, arm_id="large", kind="fallback", conversation=moved)
    await stores.journal.log_outcome(outcome, [an_attempt(decision)])

    assert await found(conversation_states, KEY, LONG_AGO) == moved


async def test_a_late_answer_does_not_move_a_conversation_with_newer_requests(
    stores: Stores, conversation_states: ConversationStates
) -> None:
    decision, next_one = in_conversation("r1"), in_conversation("r2", turn=2, after_s=5.0)
    for each in (decision, next_one):
        await stores.journal.log_decision(each)
    before = decision.conversation
    assert before is not None
    outcome = an_outcome(decision, conversation=replace(before, arm_id="large", updated_at=NOW + 9 * SECOND))
    await stores.journal.log_outcome(outcome, [])

    assert await found(conversation_states, KEY, LONG_AGO) == next_one.conversation


async def test_a_retry_finds_the_conversation_step_of_the_first_decision(stores: Stores) -> None:
    decision = in_conversation(turn=2)
    await stores.journal.log_decision(decision)

    logged = await stores.journal.find(TENANT, "r1")

    assert logged is not None
    assert logged.step == decision.step


async def test_a_conversation_is_found_while_recent_and_pruned_later(
    stores: Stores, conversation_states: ConversationStates
) -> None:
    await stores.journal.log_decision(in_conversation())

    assert await found(conversation_states, KEY, NOW) is not None
    assert await found(conversation_states, KEY, NOW + SECOND) is None
    assert await conversation_states.prune(NOW) == 0
    assert await conversation_states.prune(NOW + SECOND) == 1
    assert await found(conversation_states, KEY, LONG_AGO) is None


# --- a conversation without a session id ---------------------------------------------------------------

NAMES = (b"by its call", b"by its text")


def answered(decision: Decision, names: tuple[bytes, ...] = NAMES, after_s: float = 1.0) -> Outcome:
    """The outcome of a decision in a conversation that its answer names."""
    before = decision.conversation
    assert before is not None
    conversation = replace(before, updated_at=decision.decided_at + timedelta(seconds=after_s))
    return an_outcome(decision, conversation=conversation, answer_names=names)


async def test_an_answer_names_a_conversation_without_a_session_id(
    stores: Stores, conversation_states: ConversationStates
) -> None:
    decision = in_conversation(key=None, turn=3)
    await stores.journal.log_decision(decision)
    assert await conversation_states.find(TENANT, NAMES, LONG_AGO) == {}

    outcome = answered(decision)
    await stores.journal.log_outcome(outcome, [])

    by_name = await conversation_states.find(TENANT, [b"unknown", *NAMES], LONG_AGO)
    assert by_name == dict.fromkeys(NAMES, outcome.conversation)
    assert await conversation_states.find("other", NAMES, LONG_AGO) == {}


async def test_two_conversations_with_one_answer_share_its_name_in_any_order_of_writing(
    stores: Stores, conversation_states: ConversationStates
) -> None:
    older, newer = in_conversation("r1", key=None), in_conversation("r2", key=None, arm_id="large")
    for decision, after_s in ((newer, 5.0), (older, 1.0)):
        await stores.journal.log_decision(decision)
        await stores.journal.log_outcome(answered(decision, after_s=after_s), [])

    states = await conversation_states.find(TENANT, NAMES, LONG_AGO)

    assert {state.arm_id for state in states.values()} == {"large"}


async def test_names_expire_with_their_conversation(
    stores: Stores, conversation_states: ConversationStates
) -> None:
    decision = in_conversation(key=None)
    await stores.journal.log_decision(decision)
    await stores.journal.log_outcome(answered(decision), [])

    assert await conversation_states.find(TENANT, NAMES, NOW + 2 * SECOND) == {}
    assert await conversation_states.prune(NOW + 2 * SECOND) == len(NAMES)
