"""A candidate judged by the log of the service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import pytest_asyncio

from bandit.knobs import Knobs
from service.domain.arm import Arm, Price
from service.domain.decision import Decision, LoggedRound
from service.domain.logged_explanation import explanation
from service.domain.logged_neighbours import logged_neighbours, recalled_neighbours
from service.evaluation.candidate import CandidateConfig
from service.evaluation.evaluate import Evaluation, evaluate, reason_against
from service.evaluation.report import as_json, as_text
from tests.service.world import ARMS, LARGE, MEDIUM, SMALL, World, arm, opened

N = 220
EVEN: dict[str, Any] = {"exploration_rate": 2 / 3}  # draws each of three arms equally often
TOPICS = ["sum", "poem", "proof"]
SKILL = {"small": 0.3, "medium": 0.6, "large": 0.9}


async def use(world: World, n: int = N, **body: Any) -> None:
    """Ask and rate: an answer is good with the probability of its arm's skill."""
    luck = np.random.default_rng(1)
    for i in range(n):
        response = await world.ask(f"{TOPICS[i % 3]} number {i % 7}", request_id=f"r-{i}", **body)
        skill = SKILL[response.headers["X-Router-Model"]]
        world.clock.advance(1.0)
        await world.rate(f"r-{i}", float(luck.uniform() < skill))
    await world.background.drain(5.0)


def rounds_of(world: World) -> list[LoggedRound]:
    """The rounds as the store returns them: the explanation was packed and unpacked."""
    return [_round(world, decision) for decision in world.store.decisions.values()]


def _round(world: World, decision: Decision) -> LoggedRound:
    outcome = world.store.outcomes.get(decision.decision_id)
    events = world.store.events.get(decision.decision_id, [])
    rewards = [stored.event.reward for stored in events if stored.event.signal is None]
    reward = rewards[-1] if rewards else None
    return LoggedRound(
        decided_at=decision.decided_at,
        arm_id=decision.arm_id,
        n_prompt_tokens=decision.query.n_prompt_tokens,
        explanation=explanation(decision),
        reward=None if reward is None else float(reward.value),
        cost_usd=None if outcome is None or outcome.cost_usd is None else float(outcome.cost_usd),
        latency_s=None if outcome is None else outcome.latency_s,
    )


def candidate_of(world: World, arms: Sequence[Arm] = ARMS, **knobs: Any) -> CandidateConfig:
    """The running configuration with other arms or knobs."""
    return CandidateConfig(
        knobs=replace(world.parts.router.knobs, **knobs),
        arms=tuple(arms),
        default_arm_id=arms[0].arm_id,
        priced={arm.arm_id: arm for arm in ARMS},
        holdout_share=world.parts.settings.holdout_share,
    )


async def judged(rounds: Sequence[LoggedRound], candidate: CandidateConfig) -> Evaluation:
    async def stream() -> AsyncIterator[LoggedRound]:
        for logged in rounds:
            yield logged

    return await evaluate(stream(), candidate, rounds[0].decided_at, rounds[-1].decided_at)


@dataclass(frozen=True)
class Log:
    """What a world logged, and the configuration that it ran on. Tests share it, and only read it."""

    rounds: tuple[LoggedRound, ...]
    running: CandidateConfig


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """The log of N requests on the default knobs."""
    async with opened(tmp_path_factory.mktemp("log")) as world:
        await use(world)
        return Log(tuple(rounds_of(world)), candidate_of(world))


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"exploration_rate": 0.2, "exploration_bonus": 0.3},
        {"budget_usd_per_request": "0.00004"},
        {"min_confidence_score": 0.7, "default_model": "large"},
        {"holdout_share": 0.3, "default_model": "medium"},
        {"holdout_share": 0.3, "default_model": "large", "budget_usd_per_request": "0.00004"},
    ],
    ids=["default", "exploring", "budget", "confidence", "holdout", "holdout of a barred arm"],
)
async def test_the_running_knobs_decide_every_round_the_same_again(
    tmp_path: Path, knobs: dict[str, Any]
) -> None:
    async with opened(tmp_path, **knobs) as world:
        await use(world, 40, router={"weights": {"feedback": 0.5, "cost": -0.4}})
        running = replace(candidate_of(world), default_arm_id=world.parts.catalog.default_arm_id)
        rounds = [running.weigh(logged) for logged in rounds_of(world)]

    for judged_round in rounds:
        assert judged_round.target.tolist() == judged_round.logged.tolist()


async def test_the_running_knobs_decide_again_where_many_arms_answered_one_prompt(tmp_path: Path) -> None:
    async with opened(
        tmp_path, max_similar_requests=4, min_similar_requests=2, exploration_rate=0.6
    ) as world:
        await use(world, 60)
        running, fewer = candidate_of(world), candidate_of(world, max_similar_requests=3)
        rounds = rounds_of(world)

    recalled = [recalled_neighbours(logged.explanation)[0] for logged in rounds]
    n_outcomes = [np.bincount(neighbours.prompt).tolist() for neighbours in recalled]
    assert any(len(n) == 4 and max(n) == 3 for n in n_outcomes)
    for logged in rounds:
        again, with_fewer = running.weigh(logged), fewer.weigh(_with_prompts(logged, 3))
        assert again.target.tolist() == again.logged.tolist()
        assert fewer.weigh(logged).target.tolist() == with_fewer.target.tolist()


def _with_prompts(logged: LoggedRound, n: int) -> LoggedRound:
    """The round as if only the nearest prompts had been recalled."""
    neighbours, ease = recalled_neighbours(logged.explanation)
    kept = neighbours.of_prompts(n)
    return replace(logged, explanation={**logged.explanation, **logged_neighbours(kept, ease[: len(kept)])})


async def test_a_log_with_one_row_per_neighbour_decides_the_same_again(tmp_path: Path) -> None:
    async with opened(tmp_path, max_similar_requests=30) as world:
        luck = np.random.default_rng(1)
        for i in range(40):
            await world.ask(f"{TOPICS[i % 3]} of day {i}", request_id=f"r-{i}")
            await world.rate(f"r-{i}", float(luck.uniform() < 0.7))
        await world.background.drain(5.0)
        running, rounds = candidate_of(world), [_as_earlier_versions(logged) for logged in rounds_of(world)]

    assert any(len(logged.explanation["neighbours"]) > 20 for logged in rounds)
    for logged in rounds:
        again = running.weigh(logged)
        assert again.target.tolist() == again.logged.tolist()


def _as_earlier_versions(logged: LoggedRound) -> LoggedRound:
    """The round as versions logged it that knew no prompts."""
    neighbours, ease = recalled_neighbours(logged.explanation)
    rows = [{k: v for k, v in asdict(one).items() if k != "prompt"} for one in neighbours]
    others = {k: v for k, v in logged.explanation.items() if k != "recalled"}
    earlier = {**others, "neighbours": rows, "neighbour_ease": ease}
    return replace(logged, explanation=orjson.loads(orjson.dumps(earlier)))


async def test_a_holdout_can_be_tried_on_a_log_without_one(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        await use(world, 20)
        holding_out = replace(candidate_of(world), default_arm_id="medium", holdout_share=0.2)
        rounds = [holding_out.weigh(logged) for logged in rounds_of(world)]

    for judged_round in rounds:
        assert judged_round.target == pytest.approx(0.8 * judged_round.logged + [0, 0.2, 0])


async def test_without_the_budget_arms_that_it_barred_have_no_support(tmp_path: Path) -> None:
    async with opened(tmp_path, budget_usd_per_request="0.00004") as world:
        await use(world, 20)
        running, free = candidate_of(world), candidate_of(world, budget_usd_per_request=None)
        rounds = [(running.weigh(logged), free.weigh(logged)) for logged in rounds_of(world)]

    assert any(0 in paced.logged.tolist() for paced, _ in rounds)
    assert all(unpaced.target.min() > 0 for _, unpaced in rounds)


async def test_the_estimate_of_the_running_knobs_is_the_plain_mean(log: Log) -> None:
    evaluation = await judged(log.rounds, log.running)

    assert evaluation.refusal is None
    for name, measured in evaluation.measures.items():
        mean = np.mean([getattr(logged, name) for logged in log.rounds])
        assert measured.effective_n == pytest.approx(N)
        for by in ("ips", "snips"):
            assert measured.by[by].candidate.value == pytest.approx(mean, rel=1e-12)
        for comparison in measured.by.values():
            assert comparison.difference.value == pytest.approx(0, abs=1e-12)


async def test_more_weight_on_quality_gives_more_reward_for_more_dollars(tmp_path: Path) -> None:
    async with opened(tmp_path, cost_weight=-0.6, **EVEN) as world:
        await use(world, 400)
        bolder = candidate_of(world, exploration_rate=0.3, cost_weight=0.0)
        evaluation = await judged(rounds_of(world), bolder)

    assert evaluation.refusal is None
    assert evaluation.measures["reward"].by["doubly_robust"].difference.low > 0
    assert evaluation.measures["cost_usd"].by["doubly_robust"].difference.low > 0


async def test_an_arm_left_out_is_never_chosen_and_the_others_are(tmp_path: Path) -> None:
    async with opened(tmp_path, **EVEN) as world:
        await use(world, 320)
        rounds = rounds_of(world)
        candidate = candidate_of(world, [SMALL, LARGE], exploration_rate=0.5)
        evaluation = await judged(rounds, candidate)
        targets = [candidate.weigh(logged).target for logged in rounds]

    assert all(target[1] == 0 and target.sum() == pytest.approx(1) for target in targets)
    assert evaluation.refusal is None


async def test_priors_are_the_candidates_own(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        await use(world, 5)
        rounds = rounds_of(world)
        others = [replace(arm, prior_quality=0.3) for arm in (SMALL, MEDIUM)]
        praised = candidate_of(world, [*others, replace(LARGE, prior_quality=0.99, prior_mass=900.0)])
        before, after = (c.weigh(rounds[-1]).target for c in (candidate_of(world), praised))

    assert after[2] > before[2]


async def test_prices_are_the_candidates_own(tmp_path: Path) -> None:
    price = SMALL.expected_price
    pricier = replace(SMALL, price=replace(price, input=3 * price.input, output=3 * price.output))
    async with opened(tmp_path) as world:
        await use(world, 20)
        rounds = rounds_of(world)
        candidates = [candidate_of(world, [a, MEDIUM, LARGE]) for a in (SMALL, pricier)]
        before, after = ([candidate.weigh(r) for r in rounds] for candidate in candidates)

    assert after[-1].predicted[1, 0] == pytest.approx(3 * before[-1].predicted[1, 0])
    assert after[-1].predicted[1, 1:].tolist() == before[-1].predicted[1, 1:].tolist()
    assert sum(r.target[0] for r in after) < sum(r.target[0] for r in before)


async def test_an_arm_that_was_free_costs_a_usual_answer_at_the_candidates_price(tmp_path: Path) -> None:
    free = replace(SMALL, price=Price(Decimal(0), Decimal(0)))
    async with opened(tmp_path, [free, MEDIUM, LARGE], exploration_rate=2 / 3) as world:
        await use(world, 320)
        rounds = rounds_of(world)
        priced = replace(candidate_of(world), priced={a.arm_id: a for a in (free, MEDIUM, LARGE)})
        evaluation = await judged(rounds, priced)
        free_round = next(logged for logged in rounds if logged.arm_id == "small")
        usual_usd = 1e-6 * (free_round.n_prompt_tokens * 0.10 + 300 * 0.40)

    assert free_round.cost_usd == 0
    assert priced.weigh(free_round).repriced.of(0.0) == pytest.approx(usual_usd)
    assert priced.weigh(free_round).predicted[1, 0] == pytest.approx(usual_usd)
    assert evaluation.measures["cost_usd"].logged.value > np.mean([logged.cost_usd for logged in rounds])


async def test_an_arm_that_never_existed_is_refused_by_name(log: Log) -> None:
    evaluation = await judged(log.rounds, replace(log.running, arms=(*ARMS, arm("huge", "9"))))

    assert evaluation.refusal is not None
    assert f"huge did not exist yet in {N} decisions" in evaluation.refusal
    assert evaluation.measures == {}


async def test_before_a_model_was_added_at_runtime_the_candidate_does_without_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        await use(world, 20)
        later = replace(candidate_of(world, [*ARMS, arm("later", "1")]), added=frozenset({"later"}))
        rounds = [later.weigh(logged) for logged in rounds_of(world)]

    for judged_round in rounds:
        assert judged_round.unseen == ()
        assert judged_round.target.tolist() == judged_round.logged.tolist()


async def test_choices_without_support_in_the_log_are_refused(log: Log) -> None:
    evaluation = await judged(
        log.rounds, replace(log.running, knobs=replace(log.running.knobs, exploration_rate=0.5))
    )

    assert evaluation.refusal is not None
    assert "never made in the log" in evaluation.refusal
    assert evaluation.refusal in as_text(evaluation)


async def test_too_few_decisions_are_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        await use(world, 20)
        evaluation = await judged(rounds_of(world), candidate_of(world))

    assert evaluation.refusal is not None
    assert "20 decisions are worth 20 of the candidate's own; 200 are needed" in evaluation.refusal


async def test_decisions_of_an_early_version_are_counted_and_left_out(log: Log) -> None:
    early = replace(
        log.rounds[0], explanation={**log.rounds[0].explanation, "candidates": [{"arm_id": "small"}]}
    )
    evaluation = await judged([early, *log.rounds], log.running)

    assert (evaluation.n_rounds, evaluation.n_incomplete) == (N + 1, 1)
    assert evaluation.measures["reward"].n == N


async def test_rounds_without_a_score_count_for_dollars_and_seconds(log: Log) -> None:
    rounds = [
        replace(logged, reward=None if i < 20 else logged.reward) for i, logged in enumerate(log.rounds)
    ]
    evaluation = await judged(rounds, log.running)

    assert {name: measured.n for name, measured in evaluation.measures.items()} == {
        "reward": N - 20,
        "cost_usd": N,
        "latency_s": N,
    }


async def test_the_report_has_every_estimate_with_its_interval(log: Log) -> None:
    evaluation = await judged(log.rounds, log.running)

    report = orjson.loads(as_json(evaluation))
    for measure in ("reward", "cost_usd", "latency_s"):
        for estimator in ("ips", "snips", "doubly_robust"):
            shown = report["measures"][measure][estimator]["candidate"]
            assert shown["low"] <= shown["value"] <= shown["high"]
    text = as_text(evaluation)
    assert text.count("doubly robust") == text.count("SNIPS") == 3


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"max_similar_requests": 101}, "MAX_SIMILAR_REQUESTS"),
        ({"similarity_threshold": -0.1}, "SIMILARITY_THRESHOLD"),
        ({"recency_days": 31.0}, "RECENCY_DAYS"),
        ({"budget_usd_per_request": 0.01}, "BUDGET_USD_PER_REQUEST"),
    ],
)
def test_knobs_that_no_log_can_evaluate_are_refused_before_reading_it(
    changes: dict[str, Any], named: str
) -> None:
    reason = reason_against(Knobs(), replace(Knobs(), **changes))

    assert reason is not None
    assert reason.startswith(named)


def test_fewer_neighbours_and_no_budget_can_be_evaluated() -> None:
    running = Knobs(budget_usd_per_request=0.01)

    assert (
        reason_against(running, replace(running, max_similar_requests=50, budget_usd_per_request=None))
        is None
    )
