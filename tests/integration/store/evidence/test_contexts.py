"""Contexts that are written after their decisions."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import numpy as np

from tests.integration.stores import ENCODER, Stores, a_decision, rate

VECTOR = np.array([0.6, 0.8], dtype=np.float32)


async def test_a_decision_rated_without_a_context_is_queued_when_it_gets_one(stores: Stores) -> None:
    decision = replace(a_decision("r1"), context=None, encoder=None)
    await stores.journal.log_decision(decision)
    await rate(stores, 0.5, "r1")
    before = await stores.evidence.pending(10)

    await stores.evidence.add_contexts({decision.decision_id: VECTOR, uuid4(): VECTOR}, ENCODER)

    (pending,) = await stores.evidence.pending(10)
    assert before == []
    assert pending.experience is not None
    assert (pending.experience.encoder, pending.experience.reward) == (ENCODER, 0.5)
    np.testing.assert_allclose(pending.experience.context, VECTOR, atol=1e-3)


async def test_a_decision_that_gets_its_context_before_its_rating_is_queued_by_the_rating(
    stores: Stores,
) -> None:
    decision = replace(a_decision("r1"), context=None, encoder=None)
    await stores.journal.log_decision(decision)

    await stores.evidence.add_contexts({decision.decision_id: VECTOR}, ENCODER)

    assert await stores.evidence.pending(10) == []
    await rate(stores, 0.5, "r1")
    assert len(await stores.evidence.pending(10)) == 1


async def test_a_context_is_never_replaced(stores: Stores) -> None:
    decision = a_decision("r1")
    await stores.journal.log_decision(decision)
    await rate(stores, 0.5, "r1")

    await stores.evidence.add_contexts({decision.decision_id: -VECTOR}, "another")

    (pending,) = await stores.evidence.pending(10)
    assert pending.experience is not None
    assert pending.experience.encoder == decision.encoder
