"""Which arms may still be called."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from service.completion.request_run import RequestRun
from service.domain.tags import Tag
from tests.service.completion.test_completion import query
from tests.service.world import World


@pytest.mark.parametrize(("tag_usd", "others"), [(Decimal(0), True), (Decimal(2), False), (None, False)])
async def test_what_tags_cost_leaves_less_for_other_arms(
    world: World, tag_usd: Decimal | None, others: bool
) -> None:
    """Of a request's `max_cost_usd`; it decides whether the first call gets all of the time."""
    fallback = world.parts.completion.fallback
    asked = query(router={"max_cost_usd": 1.0})
    decision = await world.parts.router.decide(asked)
    tag = Tag("difficulty", "hard", 1.0, tag_usd, "model")
    run = RequestRun.of(replace(decision, tags=(tag,)))

    assert fallback.untried.any(run, fallback.budget(asked, None), but=run.arm_id) is others
