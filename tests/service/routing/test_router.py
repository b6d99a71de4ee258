from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.dialects.chat.requests import read_query
from service.dialects.received import Received
from service.domain.query import Query
from tests.service.world import World, arm, opened

CHEAP, DEAR = arm("cheap", "0.1"), arm("dear", "10")
PLAIN: dict[str, Any] = {"feedback_weight": 1.0, "latency_weight": 0.0, "cost_weight": 0.0}


def query(text: str = "What is a bandit?", **router: Any) -> Query:
    return read_query(
        orjson.dumps({"messages": [{"role": "user", "content": text}], "router": router}),
        Received(
            headers={},
            tenant="default",
            request_id="r-1",
            request_id_given=False,
            received_at=datetime(2026, 11, 20, tzinfo=UTC),
        ),
    )


async def test_a_decision_has_everything_to_repeat_the_draw(world: World) -> None:
    decision = await world.parts.router.decide(query())

    edges = [0.0]
    for candidate in decision.candidates:
        edges.append(edges[-1] + candidate.probability)
    drawn = [c.arm_id for c in decision.candidates].index(decision.arm_id)
    assert edges[drawn] <= decision.uniform < edges[drawn + 1]
    assert decision.propensity == decision.candidates[drawn].probability


async def test_drawing_an_arm_that_does_not_look_best_is_exploration(tmp_path: Path) -> None:
    async with opened(tmp_path, [CHEAP, DEAR], exploration_rate=1.0, **PLAIN) as world:
        for i in range(30):
            await world.ask(f"Question {i}", request_id=f"r-{i}", model="cheap")
            await world.rate(f"r-{i}", 1.0)
            await world.ask(f"Question {i}", request_id=f"s-{i}", model="dear")
            await world.rate(f"s-{i}", 0.1)

        decision = await world.parts.router.decide(query("Anything"))

    assert (decision.arm_id, decision.kind) == ("dear", "explore")


async def test_when_no_arm_is_trusted_the_default_answers(tmp_path: Path) -> None:
    async with opened(tmp_path, [CHEAP, DEAR], min_confidence_score=1.0, propensity_floor=0.0) as world:
        decision = await world.parts.router.decide(query())

    assert (decision.arm_id, decision.kind, decision.propensity) == ("cheap", "default", 1.0)


async def test_a_default_that_cannot_answer_is_not_used(tmp_path: Path) -> None:
    async with opened(tmp_path, [CHEAP, DEAR], min_confidence_score=1.0) as world:
        decision = await world.parts.router.decide(query(models=["dear"]))

    assert (decision.arm_id, decision.propensity) == ("dear", 1.0)
    assert decision.kind != "default"


async def test_every_eligible_arm_has_a_positive_probability(tmp_path: Path) -> None:
    async with opened(tmp_path, [CHEAP, DEAR], cost_weight=-10) as world:
        decision = await world.parts.router.decide(query())

    probabilities = {c.arm_id: c.probability for c in decision.candidates}
    assert probabilities["dear"] == pytest.approx(0.0002)


async def test_a_clients_own_cost_weight_changes_the_probabilities(tmp_path: Path) -> None:
    async with opened(tmp_path, [CHEAP, DEAR]) as world:
        thrifty = await world.parts.router.preview(query(weights={"cost": -5}))
        careless = await world.parts.router.preview(query(weights={"cost": 0}))

    assert thrifty.candidates[1].probability < 0.1 < careless.candidates[1].probability


async def test_a_prior_quality_counts_before_any_feedback(tmp_path: Path) -> None:
    arms = [arm("good", "1", prior_quality=0.9), arm("bad", "1", prior_quality=0.2)]
    async with opened(tmp_path, arms, **PLAIN) as world:
        decision = await world.parts.router.preview(query())

    assert decision.candidates[0].probability > 0.95


async def test_an_untried_model_starts_at_the_level_of_its_price_among_known_ones(tmp_path: Path) -> None:
    known = [
        arm("good", "10", prior_quality=0.9, prior_source="configured"),
        arm("bad", "0.1", prior_quality=0.7, prior_source="2026-10-02"),
    ]
    async with opened(tmp_path, [*known, arm("dear", "50"), arm("local", "0")], **PLAIN) as world:
        decision = await world.parts.router.preview(query())

    priors = [c.prior_state for c in decision.candidates]
    good, bad, dear, local = (prior.prior_mean for prior in priors)
    assert bad == local < dear == good
    assert [prior.prior_source for prior in priors] == [
        "configured",
        "2026-10-02",
        "price class",
        "price class",
    ]


async def test_without_any_known_quality_all_models_start_alike(tmp_path: Path) -> None:
    async with opened(tmp_path, [arm("dear", "50"), arm("local", "0")], **PLAIN) as world:
        decision = await world.parts.router.preview(query())

    priors = [c.prior_state for c in decision.candidates]
    assert priors[0].prior_mean == priors[1].prior_mean
    assert [prior.prior_source for prior in priors] == [None, None]


async def test_old_neighbours_do_not_count(world: World) -> None:
    await world.ask("What is a bandit?", request_id="r-1")
    await world.rate("r-1", 1.0)
    fresh = await world.parts.router.preview(query())
    world.clock.advance(31 * 86_400)

    stale = await world.parts.router.preview(query())

    assert [n.request_id for n in fresh.neighbours] == ["r-1"]
    assert list(stale.neighbours) == []


async def test_prompts_that_every_arm_answered_are_neighbours_with_all_their_outcomes(tmp_path: Path) -> None:
    async with opened(tmp_path, [CHEAP, DEAR], max_similar_requests=5, **PLAIN) as world:
        await answer_with_every_arm(world, 9)

        decision = await world.parts.router.preview(query())

    assert [n.prompt for n in decision.neighbours] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert [n.arm_id for n in decision.neighbours].count("dear") == 5
    assert len({n.request_id.partition("-")[0] for n in decision.neighbours}) == 5


async def answer_with_every_arm(world: World, n_prompts: int, **options: Any) -> None:
    """Pin every prompt to each of the two arms, and rate the answers."""
    for i, arm_id in product(range(n_prompts), ["cheap", "dear"]):
        await world.ask(f"What is bandit {i}?", request_id=f"{i}-{arm_id}", model=arm_id, router=options)
        await world.rate(f"{i}-{arm_id}", 0.5)


async def test_neighbours_can_be_switched_off(tmp_path: Path) -> None:
    async with opened(tmp_path, max_similar_requests=0) as world:
        await world.ask(request_id="r-1")
        await world.rate("r-1", 1.0)
        world.memory.is_down = True

        decision = await world.parts.router.preview(query())

    assert list(decision.neighbours) == []
    assert decision.degraded == ()


async def test_a_budget_leads_to_cheaper_arms(tmp_path: Path) -> None:
    arms = [arm("cheap", "0.1", prior_quality=0.5), arm("dear", "5", prior_quality=0.9)]
    async with opened(tmp_path, arms, budget_usd_per_request=Decimal("0.002"), **PLAIN) as world:
        spendthrift = await world.parts.router.preview(query())
        costs = {c.arm_id: Decimal(repr(c.expected_cost_usd)) for c in spendthrift.candidates}
        spent = Decimal(0)
        for _ in range(200):
            decision = await world.parts.router.decide(query())
            spent += costs[decision.arm_id]

    assert spendthrift.candidates[1].probability > 0.9
    assert costs["dear"] > Decimal("0.005")
    assert spent / 200 == pytest.approx(Decimal("0.002"), rel=Decimal("0.1"))


async def test_a_preview_does_not_change_the_budget(tmp_path: Path) -> None:
    async with opened(tmp_path, [CHEAP, DEAR], budget_usd_per_request=Decimal("0.002")) as world:
        before = await world.parts.router.preview(query())
        for _ in range(50):
            await world.parts.router.preview(query())

        after = await world.parts.router.preview(query())

    assert before.budget_price == after.budget_price


async def test_a_decision_without_the_encoder_has_no_context(world: World) -> None:
    world.encoder.is_down = True

    decision = await world.parts.router.decide(query())

    assert (decision.context, decision.encoder, decision.degraded) == (None, None, ("encoder",))


async def test_a_preview_of_a_pinned_request_weighs_its_arm(world: World) -> None:
    decision = await world.parts.router.preview(replace(query(), requested_model="big"))

    assert (decision.arm_id, decision.kind, decision.propensity) == ("large", "pinned", 1.0)
    assert [candidate.probability for candidate in decision.candidates] == [1.0]
    assert decision.context is not None


async def test_an_arm_that_gets_worse_is_left_and_its_old_neighbours_no_longer_count(tmp_path: Path) -> None:
    async with opened(tmp_path, [CHEAP, DEAR], **PLAIN) as world:
        for i in range(60):
            await world.ask("Hi", request_id=f"good-{i}", model="cheap")
            await world.rate(f"good-{i}", 0.9)
            world.clock.now += timedelta(minutes=1)
        for i in range(15):
            await world.ask("Hi", request_id=f"bad-{i}", model="cheap")
            await world.rate(f"bad-{i}", 0.0)
            world.clock.now += timedelta(minutes=1)

        await world.ask("Hi", request_id="after")

        cheap = next(c for c in (await world.record("after"))["candidates"] if c["model"] == "cheap")
        assert cheap["prior_state"]["n_changes"] == 1
        assert cheap["prior_state"]["n_rated"] <= 15
        assert cheap["posterior"]["local_mass"] <= 15
        assert cheap["posterior"]["mean"] < 0.2
        assert (await world.weigh("Hi"))["cheap"] < 0.05


async def test_the_predicted_reward_is_logged_with_each_candidate(world: World) -> None:
    await world.ask("Hi", request_id="r-1", model="small")
    await world.rate("r-1", 0.0)

    await world.ask("Hi", request_id="r-2")

    record = await world.record("r-2")
    assert record["n_rated"] == 1
    assert sum(record["expert_weights"]) == pytest.approx(1)
    for candidate in record["candidates"]:
        assert len(candidate["predicted"]) == len(record["expert_weights"]) + 1
        assert candidate["prior_state"]["deviation"] > 0


# --- the holdout


async def test_the_propensity_of_a_held_out_request_counts_both_ways_to_the_default(
    tmp_path: Path,
) -> None:
    arms = [arm("default", "1", prior_quality=0.2), arm("good", "1", prior_quality=0.9)]
    async with opened(tmp_path, arms, holdout_share=0.5, **PLAIN) as world:
        decisions = [await world.parts.router.preview(query()) for _ in range(60)]

    held_out = [d for d in decisions if d.holdout]
    routed = [d for d in decisions if not d.holdout]
    assert len(held_out) == pytest.approx(30, abs=4 * 60**0.5 / 2)
    assert {(d.arm_id, d.kind) for d in held_out} == {("default", "default")}
    assert {d.arm_id for d in routed} == {"good"}
    assert {d.holdout for d in routed} == {False}
    for decision in decisions:
        probabilities = {c.arm_id: c.probability for c in decision.candidates}
        assert sum(probabilities.values()) == pytest.approx(1)
        assert probabilities["default"] == pytest.approx(0.5, abs=0.01)
        assert decision.propensity == probabilities[decision.arm_id]


@pytest.mark.parametrize(
    "unsuitable",
    [
        query(models=["dear"]),
        query(max_cost_usd=0.000_000_1),
        query(learn=False),
        replace(query(), requested_model="cheap"),
    ],
    ids=["other models only", "the default is too expensive", "learn is off", "the client chose"],
)
async def test_requests_that_cannot_be_compared_are_not_held_out(tmp_path: Path, unsuitable: Query) -> None:
    arms = [arm("cheap", "1"), arm("dear", "0")]
    async with opened(tmp_path, arms, holdout_share=0.5) as world:
        decisions = [await world.parts.router.preview(unsuitable) for _ in range(20)]

    assert {d.holdout for d in decisions} == {None}


async def test_without_a_share_nothing_is_held_out(world: World) -> None:
    decision = await world.parts.router.preview(query())

    assert decision.holdout is None


async def test_the_budget_pays_for_held_out_requests_but_does_not_bar_them(tmp_path: Path) -> None:
    arms = [arm("dear", "10"), arm("cheap", "0.1")]
    budget = Decimal("0.0001")
    async with opened(
        tmp_path, arms, holdout_share=0.5, budget_usd_per_request=budget, min_confidence_score=0.0
    ) as world:
        decisions = [await world.parts.router.decide(query()) for _ in range(30)]

    assert any(d.holdout for d in decisions[20:])
    assert world.parts.router.pacer.purse < -100


async def test_the_router_learns_from_held_out_requests(tmp_path: Path) -> None:
    async with opened(tmp_path, holdout_share=0.5) as world:
        for i in range(10):
            await world.ask(f"Question {i}", request_id=f"r-{i}")
        records = {f"r-{i}": await world.record(f"r-{i}") for i in range(10)}
        held_out = next(request_id for request_id, record in records.items() if record["holdout"])

        rated = await world.rate(held_out, 1.0)

    assert rated.json()["status"] == "applied"
    assert world.store.sums["default"]["small"].n == 1


# --- tasks


async def test_two_tasks_with_the_same_words_learn_their_own_best_arm(tmp_path: Path) -> None:
    best = {"sort": "cheap", "chat": "dear"}
    async with opened(tmp_path, [CHEAP, DEAR], **PLAIN) as world:
        for i, (task, arm_id) in product(range(20), product(best, ["cheap", "dear"])):
            request_id = f"{task}-{arm_id}-{i}"
            await world.ask("Go on.", request_id=request_id, model=arm_id, router={"task": task})
            await world.rate(request_id, 0.9 if best[task] == arm_id else 0.1)

        odds = {task: await world.weigh("Go on.", task=task) for task in best}
        new_task, untagged = await world.weigh("Go on.", task="new"), await world.weigh("Go on.")
        record = await world.record("chat-dear-19")
        decision = await world.parts.router.preview(query("Go on.", task="chat"))

    assert odds["sort"]["cheap"] > 0.95
    assert odds["chat"]["dear"] > 0.95
    assert new_task == untagged
    assert record["task"] == "chat"
    assert {neighbour.task for neighbour in decision.neighbours} == {"chat"}


@pytest.mark.parametrize(("n_prompts", "is_known"), [(12, False), (19, False), (20, True)])
async def test_a_task_is_known_by_its_prompts_however_many_arms_answered_them(
    tmp_path: Path, n_prompts: int, is_known: bool
) -> None:
    async with opened(tmp_path, [CHEAP, DEAR], **PLAIN) as world:
        await world.ask("What is a bandit?", request_id="untagged")
        await world.rate("untagged", 0.5)
        await answer_with_every_arm(world, n_prompts, task="sort")

        decision = await world.parts.router.preview(query(task="sort"))

    assert len(decision.neighbours) == 2 * n_prompts + (not is_known)


async def test_a_task_may_come_in_a_header(world: World) -> None:
    await world.ask(request_id="r-1", headers={"X-Router-Task": "triage/v2"})

    assert (await world.record("r-1"))["task"] == "triage/v2"
