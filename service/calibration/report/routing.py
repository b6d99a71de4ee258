"""What routing could save on these prompts: cross-fitted, compared with the best single model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from bandit.arrays import Bools, Floats, Ints
from service.calibration.report.intervals import CONFIDENCE, Interval, bootstrap_interval, resamples
from service.calibration.report.learner import folds
from service.calibration.report.policy import Policies
from service.calibration.report.table import AnswerTable

N_FOLDS = 10
N_SPLITS = 5  # into halves
LEAST_PROMPTS = 30  # with fewer nothing is compared
LEAST_ANSWERED = 0.8  # share of the prompts that an arm must have answered to take part
MARGIN = 0.05  # a loss of quality below this counts as none
LEAST_SAVING, LEAST_GAIN = 0.02, 0.01  # less does not count as a saving, or a gain of quality
ONE_EACH_WAY = 0.5  # weight of two prompts that are added to the quality gain, one gained and one lost
MORE, MOST_NEEDED = 1.1, 10_000  # bounds of the prompts that could tell: times those there are, and in all
Verdict = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Means:
    """Means over the compared prompts, by their weights."""

    quality: float
    cost_usd: float
    latency_s: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Routing beside the best single model, on prompts from which neither was learned.

    Args:
        saving: share of the single model's dollars; below 0 routing costs more; None: that model is free.
        quality_gain: routing's quality minus the single model's.
        shares: by arm id, the share of the prompts that routing gives to the arm.
        verdict: yes: it saves at equal quality, or gains at equal dollars; no: hardly or not; unknown: these
            prompts cannot tell.
        prompts_needed: about how many prompts could tell; None: these can, or far more than it is worth.
    """

    routing: Means
    single: Means
    saving: Interval | None
    quality_gain: Interval
    shares: Mapping[str, float]
    verdict: Verdict
    prompts_needed: int | None


@dataclass(frozen=True, slots=True)
class Routing:
    """What routing could save or gain.

    Args:
        n_prompts: with a score and dollars of every model that takes part.
        arm_ids: the models that take part.
        left_out: by arm id, why it does not.
        single: by arm id, the share of the prompts for which it was the best single model of the other folds.
        refusal: why nothing is compared; None: both comparisons are there.
    """

    n_prompts: int
    arm_ids: tuple[str, ...]
    left_out: Mapping[str, str]
    single: Mapping[str, float]
    refusal: str | None
    equal_quality: Comparison | None
    equal_dollars: Comparison | None


def routing_of(table: AnswerTable, topic: Ints) -> Routing:
    """Learn from nine tenths of the prompts, choose models for the last tenth, and so for each tenth.

    Args:
        topic: shape (n_prompts,), over which the folds are spread evenly.
    """
    left_out = _left_out(table)
    takes_part = np.array([arm_id not in left_out for arm_id in table.arm_ids])
    rows: Bools = np.all((table.is_scored & table.is_priced)[:, takes_part], axis=1)
    complete, n = table.part(rows, takes_part), int(rows.sum())
    refusal = _refusal(len(complete.arm_ids), n)
    if refusal is not None:
        return Routing(n, complete.arm_ids, left_out, {}, refusal, None, None)
    topics = topic[rows]
    single, equal_quality, equal_dollars = held_out_choices(complete, topics, folds(topics, N_FOLDS))
    saving_reach, gain_reach = least_reaches(complete, topics)
    return Routing(
        n_prompts=n,
        arm_ids=complete.arm_ids,
        left_out=left_out,
        single=_shares(complete, single),
        refusal=None,
        equal_quality=compared(complete, equal_quality, single, is_saving=True, least_reach=saving_reach),
        equal_dollars=compared(complete, equal_dollars, single, is_saving=False, least_reach=gain_reach),
    )


def _left_out(table: AnswerTable) -> dict[str, str]:
    """The arms that take no part, with the reason."""
    reasons: dict[str, str] = {}
    for what, known in (("a score", table.is_scored), ("known dollars", table.is_priced)):
        for arm_id, share in zip(table.arm_ids, known.mean(axis=0).tolist(), strict=True):
            if share < LEAST_ANSWERED:
                reason = f"{100 * share:.0f} % of its answers have {what}, {100 * LEAST_ANSWERED:.0f} % must"
                reasons.setdefault(arm_id, reason)
    return reasons


def _refusal(n_arms: int, n_prompts: int) -> str | None:
    if n_arms < 2:
        return f"Routing needs at least two models with scores and dollars, got {n_arms}."
    if n_prompts < LEAST_PROMPTS:
        return (
            f"Too few prompts to tell what routing could save: {n_prompts} have a score and dollars of every "
            f"model, at least {LEAST_PROMPTS} are needed, better 100 or more."
        )
    return None


def held_out_choices(table: AnswerTable, topic: Ints, fold: Ints) -> Ints:
    """Each prompt's arm by the policies of the other folds: single, equal quality, equal dollars.

    Args:
        fold: shape (n_prompts,).

    Returns:
        Shape (3, n_prompts).
    """
    arms = np.empty((3, fold.size), dtype=np.int64)
    for number in np.unique(fold):
        others = fold != number
        policies = Policies.of(table.part(others), topic[others])
        for row in np.flatnonzero(~others).tolist():
            arms[:, row] = policies.choose(table, row)
    return arms


def least_reaches(table: AnswerTable, topic: Ints) -> tuple[float, float]:
    """How far a saving at equal quality, and a gain at equal dollars, vary with the prompts that teach.

    The prompts are split into halves; each half teaches, and is judged on the other. The two results differ
    only by chance, and half of their squared difference is the variance of one. All prompts together are
    twice as many, so their variance is half of that. The quality that is kept, and the dollars, vary far
    less: the price is chosen to keep them.
    """
    squares = np.zeros(2)
    for seed in range(N_SPLITS):
        half = folds(topic, 2, seed)
        single, equal_quality, equal_dollars = held_out_choices(table, topic, half)
        first, second = (
            np.array(
                [_saved(table, equal_quality, single, rows), _gained(table, equal_dollars, single, rows)]
            )
            for rows in (half == 0, half == 1)
        )
        squares += (first - second) ** 2 / 2
    reach = stdtrit(N_SPLITS, (1 + CONFIDENCE) / 2) * np.sqrt(squares / N_SPLITS / 2)
    return float(reach[0]), float(reach[1])


def _saved(table: AnswerTable, arms: Ints, single: Ints, rows: Bools) -> float:
    """The saving on some of the prompts."""
    routing_usd, single_usd = (table.weights[rows] @ _of(table.costs_usd, a)[rows] for a in (arms, single))
    return float(1.0 - routing_usd / single_usd) if single_usd > 0 else 0.0


def _gained(table: AnswerTable, arms: Ints, single: Ints, rows: Bools) -> float:
    """The quality gain on some of the prompts."""
    gain = _of(table.scores, arms) - _of(table.scores, single)
    return float(np.average(gain[rows], weights=table.weights[rows]))


def compared(
    table: AnswerTable, arms: Ints, single: Ints, *, is_saving: bool, least_reach: float = 0.0
) -> Comparison:
    """Compare two arms for each prompt, both chosen without its answers.

    Args:
        is_saving: whether the verdict is on dollars at equal quality, or on quality at equal dollars.
        least_reach: of the interval that the verdict is on.
    """
    routing_cost, single_cost = _of(table.costs_usd, arms), _of(table.costs_usd, single)
    saving = _saving(routing_cost, single_cost, table.weights)
    gain = _quality_gain(_of(table.scores, arms) - _of(table.scores, single), table.weights)
    if np.array_equal(arms, single):
        gain = Interval(0.0, 0.0, 0.0)
    if is_saving and saving is not None:
        saving = saving.reaching(least_reach)
        saving = replace(saving, high=min(saving.high, 1.0))
    elif not is_saving:
        gain = gain.reaching(least_reach)
    verdict = _saves(saving, gain) if is_saving else _gains(saving, gain)
    needed = None
    if verdict == "unknown":
        needed = _needed(arms.size, saving, gain) if is_saving else _needed(arms.size, gain, None)
    return Comparison(
        _means(table, arms), _means(table, single), saving, gain, _shares(table, arms), verdict, needed
    )


def _saving(routing: Floats, single: Floats, weights: Floats) -> Interval | None:
    if not single.any():
        return None
    times = resamples(single.size) * weights
    value = 1.0 - float(weights @ routing) / float(weights @ single)
    paid = times @ single
    saved = np.divide(times @ (single - routing), paid, out=np.zeros_like(paid), where=paid > 0)
    return bootstrap_interval(value, saved)


def _quality_gain(gain: Floats, weights: Floats) -> Interval:
    """The mean gain and its interval.

    If routing and the single model differ on few prompts, these resample to too narrow an interval. So each
    resample also has a prompt that is gained and one that is lost, each with half a weight.

    Source: Agresti & Min (2005), Simple Improved Confidence Intervals for Comparing Matched Proportions.
    """
    value = float(np.average(gain, weights=weights))
    size = float(np.abs(gain).max()) or 1.0
    added = ONE_EACH_WAY * np.array([size, -size])
    times = resamples(gain.size + 2)
    weighted = times[:, :-2] @ (gain * weights) + times[:, -2:] @ added
    total = times[:, :-2] @ weights + ONE_EACH_WAY * times[:, -2:].sum(axis=1)
    return bootstrap_interval(value, weighted / total)


def _saves(saving: Interval | None, gain: Interval) -> Verdict:
    if saving is None or saving.high < LEAST_SAVING or gain.high < 0:
        return "no"
    return "yes" if saving.low > 0 and gain.low >= -MARGIN else "unknown"


def _gains(saving: Interval | None, gain: Interval) -> Verdict:
    if gain.high < LEAST_GAIN or (saving is not None and saving.high < 0):
        return "no"
    return "yes" if gain.low > 0 else "unknown"


def _needed(n: int, effect: Interval | None, kept: Interval | None) -> int | None:
    """About how many prompts could tell: the reach of an interval shrinks as 1 / sqrt(n).

    Args:
        effect: must be above 0.
        kept: must be above -MARGIN, if its true value is 0; None: nothing must be.
    """
    factors = [MORE]
    if effect is not None and effect.low <= 0:
        factors.append(((effect.value - effect.low) / effect.value) ** 2 if effect.value > 0 else math.inf)
    if kept is not None and kept.low < -MARGIN:
        factors.append(((kept.value - kept.low) / MARGIN) ** 2)
    needed = n * max(factors)
    return math.ceil(needed / 10) * 10 if needed <= MOST_NEEDED else None


def _means(table: AnswerTable, arms: Ints) -> Means:
    columns = (table.scores, table.costs_usd, table.latencies_s)
    return Means(*(float(np.average(_of(values, arms), weights=table.weights)) for values in columns))


def _shares(table: AnswerTable, arms: Ints) -> dict[str, float]:
    """The arms that are chosen, the most frequent first."""
    share = np.bincount(arms, table.weights, minlength=len(table.arm_ids)) / table.weights.sum()
    by_arm = Counter(dict(zip(table.arm_ids, share.tolist(), strict=True)))
    return {arm_id: share for arm_id, share in by_arm.most_common() if share > 0}


def _of(values: Floats, arms: Ints) -> Floats:
    return np.asarray(values[np.arange(arms.size), arms])
