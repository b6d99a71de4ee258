from dataclasses import replace

import numpy as np
import pytest

from bandit.beliefs import believe
from bandit.drift import FADE, ArmHistory, Epoch, RatedSums
from bandit.evidence import Sums
from bandit.knobs import Knobs
from bandit.records import PRIOR_KEPT, ArmRecords, EaseSums
from tests.bandit.worlds import a_prior, prior_state_of, some_neighbours

WORKED = ArmHistory(epoch=Epoch(rated=RatedSums(100.0, 80.0)), newest=500.0, n_rated=400.0)


def test_an_arm_that_never_changed_has_the_records_of_its_sums() -> None:
    sums = replace(Sums.zeros(1), n=np.array([100.0]), reward_sum=np.array([80.0]))

    records, from_sums = ArmRecords.of([WORKED], now=600.0, n_rated=450.0), ArmRecords.from_sums(sums)

    assert (records.n, records.reward_sum) == (from_sums.n, from_sums.reward_sum)
    assert records.prior_kept.tolist() == [1.0]


def test_the_evidence_of_a_fallen_arm_fades_and_no_other() -> None:
    fallen = replace(WORKED, n_changes=1, is_fallen=True, fallen_at=WORKED.n_rated)

    records = ArmRecords.of([WORKED, fallen], now=600.0, n_rated=500.0)

    fresh = (1 - FADE) ** 100
    assert records.n.tolist() == pytest.approx([100.0, 100.0 * fresh], abs=1e-5)
    assert records.reward_sum.tolist() == pytest.approx([80.0, 80.0 * fresh], abs=1e-5)
    assert records.prior_kept.tolist() == [1.0, PRIOR_KEPT]


def test_the_ease_of_the_requests_fades_with_their_rewards() -> None:
    fallen = replace(WORKED, n_changes=1, is_fallen=True, fallen_at=WORKED.n_rated)

    ease = EaseSums(n=np.array([100.0, 100.0]), ease_sum=np.array([7.0, 7.0]))
    records = ArmRecords.of([WORKED, fallen], now=600.0, n_rated=500.0, ease=ease)

    assert records.reward_sum.tolist() == pytest.approx([73.0, 73.0 * (1 - FADE) ** 100], abs=1e-5)


def test_an_arm_rated_after_the_others_were_counted_does_not_fade() -> None:
    fallen = replace(WORKED, n_changes=1, is_fallen=True, fallen_at=WORKED.n_rated)

    records = ArmRecords.of([fallen], now=600.0, n_rated=WORKED.n_rated - 50)

    assert records.n.tolist() == [100.0]


def test_an_epochs_age_counts_from_its_start() -> None:
    changed = replace(WORKED, n_changes=1, epoch=Epoch(started_at=970.0))

    records = ArmRecords.of([changed, WORKED], now=1000.0, n_rated=400.0)

    assert records.epoch_age_s.tolist() == [30.0, np.inf]
    assert records.n_changes.tolist() == [1, 0]


def test_neighbours_from_before_a_change_do_not_count() -> None:
    changed = replace(WORKED, n_changes=1, epoch=Epoch(started_at=970.0, rated=RatedSums(10.0, 1.0)))
    neighbours = some_neighbours([0] * 10 + [1] * 10, [1.0] * 20)

    records = ArmRecords.of([changed, WORKED], now=1000.0, n_rated=400.0)
    beliefs = believe(prior_state_of(a_prior(2), Sums.zeros(2), records), neighbours, Knobs())

    assert beliefs.local_mass.tolist() == [0.0, 10.0]


def test_an_expert_that_predicts_worse_loses_weight() -> None:
    wrong = replace(WORKED, n_predicted=100.0, squared_errors=(10.0, 30.0, 30.0, 12.0))
    neighbours = some_neighbours([0] * 20, [0.0] * 20)

    records = ArmRecords.of([wrong], now=600.0, n_rated=400.0)
    beliefs = believe(prior_state_of(a_prior(1), Sums.zeros(1), records), neighbours, Knobs())

    assert beliefs.prior_state.expert_weights[0] > 0.999
    assert beliefs.posterior.mean[0] == pytest.approx(beliefs.prior_state.global_mean[0], abs=1e-3)
