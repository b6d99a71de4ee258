"""The cross-fitted comparison, checked on made-up prompts whose truth is known; all seeds are fixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from bandit.arrays import Floats
from service.calibration.report.intervals import Interval
from service.calibration.report.learner import Learner, folds
from service.calibration.report.policy import best_single
from service.calibration.report.routing import (
    Comparison,
    Routing,
    compared,
    held_out_choices,
    least_reaches,
    routing_of,
)
from service.calibration.report.table import AnswerTable
from service.calibration.report.topics import Topics
from tests.service.calibration.report.made_up import TOPICS, answers, played, vectors

N_TOPICS = len(TOPICS)
N_WORLDS = 20
ALIKE = np.zeros((N_TOPICS, 4))
SPECIALISTS = np.where(np.eye(N_TOPICS, dtype=np.bool_), 2.5, -1.5)
# A specialist for each topic, and a fifth arm that is good at all of them for thirty times the dollars.
GENERALIST = np.hstack([SPECIALISTS, np.full((N_TOPICS, 1), 2.5)])


@dataclass(frozen=True, slots=True)
class World:
    """Truths to draw prompts from."""

    skills: Floats
    prices: Floats
    is_tagged: bool = True

    def table(self, seed: int, n: int = 80) -> tuple[AnswerTable, Topics]:
        rng = np.random.default_rng(seed)
        topic = rng.integers(0, N_TOPICS, n)
        scores, costs_usd = played(rng, topic, self.skills, self.prices)
        tasks = [TOPICS[number] for number in topic] if self.is_tagged else None
        found = answers(scores, costs_usd, tasks)
        contexts = vectors(rng, topic)
        table = AnswerTable.of(found, {f"key-{row}": contexts[row] for row in range(n)})
        return table, Topics.of(table.prompts, table.contexts)

    def routing(self, seed: int, n: int = 80) -> Routing:
        table, topics = self.table(seed, n)
        return routing_of(table, topics.member)


def both(routing: Routing) -> tuple[Comparison, Comparison]:
    assert routing.equal_quality is not None
    assert routing.equal_dollars is not None
    return routing.equal_quality, routing.equal_dollars


@pytest.mark.parametrize(
    ("prices", "is_tagged"),
    [(np.full(4, 1.0), False), (np.array([0.1, 0.5, 2.0, 10.0]), True)],
    ids=["equal prices", "prices from 0.1 to 10"],
)
def test_where_all_models_are_alike_no_saving_and_no_gain_is_reported(
    prices: Floats, is_tagged: bool
) -> None:
    world = World(ALIKE, prices, is_tagged)
    found = [both(world.routing(seed, n=50)) for seed in range(N_WORLDS)]

    assert sum(quality.verdict == "yes" for quality, _ in found) <= 2
    assert sum(dollars.verdict == "yes" for _, dollars in found) <= 2
    gains = np.array([dollars.quality_gain.value for _, dollars in found])
    error = gains.std(ddof=1) / np.sqrt(gains.size)
    assert abs(gains.mean()) <= max(3 * error, 0.005)


def test_choices_in_sample_would_seem_to_gain_where_there_is_nothing_to_gain() -> None:
    """The fault that cross-fitting avoids: this world shows it, so that the test above can fail."""
    gains = []
    for seed in range(10):
        table, _ = World(ALIKE, np.full(4, 1.0), is_tagged=False).table(seed)
        learner = Learner.of(table)
        arms = [int(learner.about(table, row).posterior.mean.argmax()) for row in range(80)]
        single = table.scores.mean(axis=0).max()
        gains.append(float(table.scores[np.arange(80), arms].mean() - single))

    assert np.mean(gains) > 0.01


def test_specialists_gain_quality_at_equal_dollars() -> None:
    found = [both(World(SPECIALISTS, np.full(4, 1.0)).routing(seed))[1] for seed in range(5)]

    assert [c.verdict for c in found].count("yes") >= 4
    assert np.mean([c.quality_gain.value for c in found]) > 0.2


def test_specialists_save_dollars_beside_a_dear_generalist() -> None:
    """Their skills leave little to luck, so that a loss of quality can be excluded."""
    world = World(3 * GENERALIST, np.array([1.0, 1.0, 1.0, 1.0, 30.0]))
    found = [both(world.routing(seed))[0] for seed in range(3)]

    assert [c.verdict for c in found] == ["yes"] * 3
    assert all(c.saving is not None and c.saving.low > 0.3 for c in found)
    assert abs(np.mean([c.quality_gain.value for c in found])) < 0.02
    assert all(set(c.shares) >= {"model-0", "model-1", "model-2", "model-3"} for c in found)


def test_contexts_without_tags_teach_which_specialist_to_choose() -> None:
    world = World(SPECIALISTS, np.full(4, 1.0), is_tagged=False)

    assert [both(world.routing(seed, n=120))[1].verdict for seed in range(3)].count("yes") >= 2


def test_intervals_contain_the_true_gain_of_the_choices() -> None:
    """True, because the chances of every arm on every topic are known."""
    world, missed, errors = World(SPECIALISTS / 2, np.full(4, 1.0)), 0, []
    ease = np.random.default_rng(0).normal(size=(10_000, 1, 1))
    chance = (1.0 / (1.0 + np.exp(-(world.skills + ease)))).mean(axis=0)
    for seed in range(N_WORLDS):
        table, topics = world.table(seed, n=50)
        topic = np.array([TOPICS.index(prompt.task or "") for prompt in table.prompts])
        single, _, arms = held_out_choices(table, topics.member, folds(topics.member, 10))
        truth = float((chance[topic, arms] - chance[topic, single]).mean())
        gain = compared(table, arms, single, is_saving=False).quality_gain
        missed += not gain.low <= truth <= gain.high
        errors.append(gain.value - truth)

    assert missed <= 3
    assert abs(np.mean(errors)) <= 3 * np.std(errors, ddof=1) / np.sqrt(N_WORLDS)


def test_what_every_half_teaches_has_no_spread_and_what_only_some_teach_has() -> None:
    clear = np.tile([1.0, 0.0], (40, 1))
    sure = AnswerTable.of(answers(clear, np.tile([1.0, 2.0], (40, 1))), {})
    table, topics = World(SPECIALISTS, np.full(4, 1.0), is_tagged=False).table(0, n=40)

    assert least_reaches(sure, np.arange(40) % 2) == (0.0, 0.0)
    assert least_reaches(table, topics.member)[1] > 0.05


def test_a_wide_spread_leaves_a_saving_undecided() -> None:
    table = AnswerTable.of(answers(np.tile([1.0, 1.0], (40, 1)), np.tile([1.0, 2.0], (40, 1))), {})
    cheap, dear = np.zeros(40, dtype=np.int64), np.ones(40, dtype=np.int64)

    narrow = compared(table, cheap, dear, is_saving=True)
    wide = compared(table, cheap, dear, is_saving=True, least_reach=0.6)

    assert narrow.saving == Interval(0.5, 0.5, 0.5)
    assert wide.saving is not None
    assert (wide.saving.low, wide.saving.high) == pytest.approx((-0.1, 1.0))
    assert (narrow.verdict, wide.verdict) == ("yes", "unknown")


def test_the_single_model_itself_saves_and_gains_nothing() -> None:
    table, _ = World(SPECIALISTS, np.full(4, 1.0)).table(1, n=40)
    same = np.zeros(40, dtype=np.int64)

    found = [compared(table, same, same, is_saving=is_saving) for is_saving in (True, False)]

    assert [c.verdict for c in found] == ["no", "no"]
    assert [c.quality_gain for c in found] == [Interval(0.0, 0.0, 0.0)] * 2


def test_too_few_prompts_are_refused_in_words() -> None:
    routing = World(SPECIALISTS, np.full(4, 1.0)).routing(1, n=29)

    assert routing.equal_quality is None
    assert routing.equal_dollars is None
    assert routing.refusal is not None
    assert "Too few prompts" in routing.refusal
    assert "29" in routing.refusal


def test_prompts_that_cannot_tell_say_how_many_could() -> None:
    world = World(GENERALIST, np.array([1.0, 1.0, 1.0, 1.0, 30.0]))
    unknown = [c for seed in range(8) if (c := both(world.routing(seed, n=48))[0]).verdict == "unknown"]

    assert unknown
    assert all(c.prompts_needed is not None and 48 < c.prompts_needed <= 10_000 for c in unknown)


def test_a_model_with_few_scores_or_prices_takes_no_part() -> None:
    rng = np.random.default_rng(1)
    scores, costs_usd = played(rng, np.zeros(60, dtype=np.int64), ALIKE, np.full(4, 1.0))
    scores[:20, 1] = np.nan
    costs_usd[:30, 2] = np.nan
    scores[:2, 3] = np.nan
    table = AnswerTable.of(answers(scores, costs_usd), {})

    routing = routing_of(table, np.zeros(60, dtype=np.int64))

    assert set(routing.left_out) == {"model-1", "model-2"}
    assert "67 % of its answers have a score" in routing.left_out["model-1"]
    assert "50 % of its answers have known dollars" in routing.left_out["model-2"]
    assert (routing.arm_ids, routing.n_prompts) == (("model-0", "model-3"), 58)


def test_a_single_model_cannot_be_routed() -> None:
    table = AnswerTable.of(answers(np.ones((40, 1)), np.ones((40, 1))), {})

    routing = routing_of(table, np.zeros(40, dtype=np.int64))

    assert routing.refusal == "Routing needs at least two models with scores and dollars, got 1."


def test_free_models_can_gain_but_not_save() -> None:
    quality, dollars = both(World(SPECIALISTS, np.zeros(4)).routing(3))

    assert (quality.saving, quality.verdict) == (None, "no")
    assert dollars.verdict == "yes"


def test_weights_decide_what_is_best() -> None:
    scores = np.array([[1.0, 0.0]] * 30 + [[0.0, 1.0]] * 30)
    weights = np.array([9.0] * 30 + [1.0] * 30)
    table = AnswerTable.of(answers(scores, np.ones((60, 2)), weights=weights), {})

    quality, _ = both(routing_of(table, np.zeros(60, dtype=np.int64)))

    assert quality.single.quality == pytest.approx(0.9)


def test_of_level_models_the_cheapest_is_the_best_single_one() -> None:
    rng = np.random.default_rng(6)
    scores = (rng.random((60, 3)) < [0.72, 0.7, 0.2]).astype(np.float64)
    table = AnswerTable.of(answers(scores, np.tile([5.0, 1.0, 0.1], (60, 1))), {})

    assert best_single(table) == 1


def test_folds_are_equal_and_spread_each_topic() -> None:
    topic = np.repeat([0, 1, 2], [60, 30, 10])
    fold = folds(topic, 10)

    assert np.bincount(fold).tolist() == [10] * 10
    assert [len(set(fold[topic == t])) for t in range(3)] == [10, 10, 10]


def test_the_comparison_is_the_same_every_time() -> None:
    world = World(SPECIALISTS, np.full(4, 1.0))

    assert world.routing(2, n=40) == world.routing(2, n=40)
