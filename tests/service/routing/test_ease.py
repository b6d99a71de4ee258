"""Ease is fitted to rated requests in the background, and every decision logs the ease it used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bandit.drift import ArmHistory, Epoch, RatedSums
from bandit.ease import LEAST_RATED
from service.domain.feedback import Experience
from service.domain.neighbours import key_of
from service.routing.ease import NOTHING, FittedEase, fit
from tests.service.routing.test_router import query
from tests.service.world import ARMS, World, opened

N = LEAST_RATED + 8


async def ask_and_rate(world: World, n: int = N) -> None:
    """Half of the questions are easy for every model, half are hard."""
    for i in range(n):
        await world.ask(f"{'an easy one' if i % 2 else 'a riddle'} number {i}", request_id=f"r-{i}")
        await world.rate(f"r-{i}", float(i % 2))
        world.clock.advance(1.0)
    await world.background.drain(5.0)


async def fitted(world: World) -> FittedEase:
    """The newest fit, after the background work."""
    await world.parts.router.decide(query())
    await world.background.drain(5.0)
    return world.parts.router.ease_fitter.of("default", 0.0)


async def test_ease_is_learned_from_all_arms_and_logged_with_the_next_decision(world: World) -> None:
    await ask_and_rate(world)
    await fitted(world)

    decision = await world.parts.router.decide(query("an easy one number 1"))

    assert decision.ease > 0.05
    assert len(decision.neighbour_ease) == len(decision.neighbours)
    by_reward = dict(zip((n.reward for n in decision.neighbours), decision.neighbour_ease, strict=True))
    assert by_reward[1.0] > 0 > by_reward[0.0]


async def test_the_record_of_a_request_shows_its_ease(world: World) -> None:
    await ask_and_rate(world)
    await fitted(world)

    await world.ask("an easy one number 1", request_id="shown")
    record = await world.record("shown")

    assert record["ease"] > 0.05
    assert len(record["neighbour_ease"]) == len(record["neighbours"])


async def test_ease_is_subtracted_from_the_rewards_of_an_arm(world: World) -> None:
    await ask_and_rate(world)
    known = await fitted(world)

    decision = await world.parts.router.decide(query())

    sums = world.parts.router.evidence.sums("default")
    for candidate in decision.candidates:
        if candidate.arm_id in sums:
            ease_sum = known.sums[candidate.arm_id][2]
            rewards = float(sums[candidate.arm_id].reward_sum)
            assert candidate.prior_state.reward_sum == pytest.approx(rewards - ease_sum)


async def test_a_few_ratings_are_not_enough_for_a_fit(world: World) -> None:
    await ask_and_rate(world, 10)

    decision = await world.parts.router.decide(query())

    assert decision.ease == 0
    assert set(decision.neighbour_ease) == {0.0}


async def test_tenants_know_nothing_of_each_other(world: World) -> None:
    await ask_and_rate(world)
    await fitted(world)

    decision = await world.parts.router.decide(replace(query("an easy one"), tenant="another"))

    assert decision.ease == 0


async def test_without_postgresql_decisions_use_the_last_fit(tmp_path: Path) -> None:
    async with opened(tmp_path, ARMS) as world:
        await ask_and_rate(world)
        await fitted(world)
        for i in range(N):
            await world.ask(f"more {i}", request_id=f"m-{i}")
            await world.rate(f"m-{i}", 0.5)
        world.store.is_down = True

        decision = await world.parts.router.decide(query("an easy one number 1"))
        await world.background.drain(5.0)
        world.store.is_down = False

    assert decision.ease > 0.05


async def test_the_ease_sum_of_an_arm_that_changed_since_the_fit_is_zero(world: World) -> None:
    await ask_and_rate(world)
    known = await fitted(world)
    arm = next(arm for arm in ARMS if known.sums.get(arm.arm_id, (0.0, 0.0, 0.0))[2] != 0)
    began, n, total = known.sums[arm.arm_id]

    same = known.sums_of([arm], [ArmHistory(epoch=Epoch(began))])
    other = known.sums_of([arm], [ArmHistory(epoch=Epoch(began + 1 if began > 0 else 1.0, RatedSums()))])

    assert (same.n.tolist(), same.ease_sum.tolist()) == ([n], [total])
    assert (other.n.tolist(), other.ease_sum.tolist()) == ([0.0], [0.0])


async def test_requests_before_a_change_count_for_ease_and_not_for_the_arm(world: World) -> None:
    await ask_and_rate(world)
    rated: list[Experience] = await world.parts.router.evidence.rated("default", world.encoder.name, 1000)
    middle = sorted(e.decided_at for e in rated)[len(rated) // 2].timestamp()
    histories = {e.arm_id: ArmHistory(epoch=Epoch(middle)) for e in rated}

    whole, changed = fit(rated, {}, N), fit(rated, histories, N)

    ease = dict(zip(changed.keys.tolist(), changed.each.tolist(), strict=True))
    assert ease.keys() == set(whole.keys.tolist())
    for arm_id, (began, n, total) in changed.sums.items():
        later = [e for e in rated if e.arm_id == arm_id and e.decided_at.timestamp() > middle]
        assert began == middle
        assert n == pytest.approx(sum(e.weight for e in later))
        expected = sum(ease[key_of(e.decision_id)] * e.weight for e in later)
        assert total == pytest.approx(expected, abs=0.005 * n)  # each is rounded to hundredths


def test_without_a_fit_every_ease_is_zero() -> None:
    assert NOTHING.at(None) == 0
    assert NOTHING.sums_of(ARMS, [ArmHistory() for _ in ARMS]).ease_sum.tolist() == [0.0] * len(ARMS)
