"""Classifiers that read another vector than that of the decision."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from service.domain.basics import Vector
from service.domain.query import Query
from service.domain.tags import Tag
from service.policies.classifiers.by_meaning import ByMeaning
from tests.fakes import FakeEncoder
from tests.service.policies.classifiers.queries import query_of

OF_DECISION = np.ones(3, dtype=np.float32)


class Seen:
    """Tags nothing, and keeps the vector that it was given."""

    name = "intent"

    def __init__(self) -> None:
        self.contexts: list[Vector | None] = []

    async def tag(self, query: Query, context: Vector | None) -> Tag | None:
        self.contexts.append(context)
        return Tag(self.name, "other", 1.0, Decimal(0), "linear")


async def test_a_classifier_gets_the_vector_of_the_meaning() -> None:
    seen, meanings = Seen(), FakeEncoder()
    query = query_of("sort a list")

    tag = await ByMeaning(seen, meanings, timeout_s=1.0).tag(query, OF_DECISION)

    [context] = seen.contexts
    assert tag is not None
    np.testing.assert_array_equal(context, await meanings.encode(query.text))


async def test_without_the_encoder_of_meanings_there_is_no_vector() -> None:
    seen, meanings = Seen(), FakeEncoder()
    meanings.is_down = True

    tag = await ByMeaning(seen, meanings, timeout_s=1.0).tag(query_of("sort a list"), OF_DECISION)

    assert tag is not None
    assert seen.contexts == [None]
