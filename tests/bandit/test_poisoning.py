"""What a few ratings of one rater do to the choice between two arms."""

from dataclasses import replace

import numpy as np

from bandit.arrays import Floats
from bandit.beliefs import PriorState, believe
from bandit.drift import N_PREDICTIONS, ArmHistory, Rating, Score, learn
from bandit.evidence import Neighbours, Sums
from bandit.knobs import Knobs
from bandit.policy import ThompsonPolicy
from bandit.records import ArmRecords
from tests.bandit.worlds import a_prior


def rated(history: ArmHistory, scores: list[float], rater: str) -> ArmHistory:
    for score in scores:
        rating = Rating(
            decided_at=history.n_predicted,
            n_rated=history.n_predicted,
            n_changes=history.n_changes,
            predicted=(0.9,) * N_PREDICTIONS,
            deviation=0.2,
            score=Score(score),
            rater=rater,
        )
        history = learn(history, rating)
    return history


def chances(histories: list[ArmHistory]) -> Floats:
    """The probability of each arm, without neighbours."""
    records = ArmRecords.of(histories, now=1000.0, n_rated=1000.0)
    state = PriorState.of(a_prior(len(histories)), Sums.zeros(len(histories)), records)
    knobs = replace(Knobs(), feedback_weight=1.0, cost_weight=0.0, latency_weight=0.0)
    return ThompsonPolicy(knobs, default_arm=0).probabilities(believe(state, Neighbours.none(), knobs))


def test_six_zeros_of_one_caller_leave_a_good_arm_its_traffic() -> None:
    good = rated(ArmHistory(), [0.9] * 390, "app")
    other = rated(ArmHistory(), [0.3] * 200, "app")

    alone = rated(good, [0.0] * 6, "app")
    beside = rated(good, [0.0] * 60, "stranger")

    before, after_six, after_sixty = (chances([arm, other])[0] for arm in (good, alone, beside))
    assert before > 0.99
    assert after_six > 0.99
    assert after_sixty > 0.9
    assert not np.isclose(before, after_sixty, atol=1e-9)  # they count, as ratings do
