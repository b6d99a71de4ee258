from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit.drift import ALARM, FADE, LARGEST_SHARE, N_PREDICTIONS, ArmHistory, Rating, Score, learn
from bandit.raters import AWAY_S, MOST_RATERS
from tests.bandit.worlds import seeds

scores = st.builds(Score, st.floats(min_value=0, max_value=1), st.floats(min_value=0.1, max_value=1))


def a_rating(decided_at: float, reward: float, predicted: float = 0.8, n_changes: int = 0) -> Rating:
    return Rating(
        decided_at=decided_at,
        n_rated=decided_at,
        n_changes=n_changes,
        predicted=(predicted,) * N_PREDICTIONS,
        deviation=0.4,
        score=Score(reward),
    )


def after(ratings: list[Rating], history: ArmHistory | None = None) -> ArmHistory:
    result = ArmHistory() if history is None else history
    for rating in ratings:
        result = learn(result, replace(rating, n_changes=result.n_changes))
    return result


def revised(rating: Rating, score: Score | None) -> Rating:
    return replace(rating, score=score, replaces=rating.score, is_first=False)


def coin(chance: float, n: int, rng: np.random.Generator, start: int = 0) -> list[Rating]:
    return [a_rating(start + i, float(rng.random() < chance)) for i in range(n)]


@given(in_order=st.lists(scores, max_size=20), order=st.randoms(use_true_random=False))
def test_sums_are_the_same_in_any_order(in_order: list[Score], order: Random) -> None:
    ratings = [replace(a_rating(i, 0.0), score=score) for i, score in enumerate(in_order)]

    history, shuffled = after(ratings), after(order.sample(ratings, len(ratings)))

    assert history.epoch.rated == shuffled.epoch.rated
    assert history.squared_errors == shuffled.squared_errors


@given(before=st.lists(scores, max_size=8), score=scores, later=st.lists(scores, max_size=8))
def test_withdrawn_feedback_leaves_no_trace_in_the_sums(
    before: list[Score], score: Score, later: list[Score]
) -> None:
    earlier_ratings = [replace(a_rating(i, 0.0), score=s) for i, s in enumerate(before)]
    later_ratings = [replace(a_rating(100 + i, 0.0), score=s) for i, s in enumerate(later)]
    rating = replace(a_rating(50, 0.0), score=score)

    withdrawn = after([*earlier_ratings, rating, *later_ratings, revised(rating, None)])

    without = after([*earlier_ratings, *later_ratings])
    assert withdrawn.epoch.rated == without.epoch.rated
    assert withdrawn.squared_errors == without.squared_errors
    assert withdrawn.n_predicted == without.n_predicted


@given(seed=seeds)
def test_a_second_reading_of_the_log_gives_the_same_history(seed: int) -> None:
    rng = np.random.default_rng(seed)
    log = [*coin(0.8, 60, rng), *coin(0.2, 60, rng, start=60)]

    assert after(log) == after(log)


def test_an_arm_that_fails_silently_is_found_within_a_few_dozen_requests() -> None:
    rng = np.random.default_rng(0)
    healthy = after(coin(0.8, 500, rng))

    found = [after(coin(0.3, n, rng, start=500), healthy).is_fallen for n in (5, 35)]

    assert healthy.n_changes == 0
    assert found == [False, True]


def test_after_a_change_only_evidence_since_its_onset_counts() -> None:
    healthy = after(coin(0.8, 500, np.random.default_rng(1)))

    fallen = after([a_rating(500 + i, 0.0) for i in range(12)], healthy)

    assert fallen.is_fallen
    assert 490 <= fallen.epoch.started_at <= 500
    assert fallen.epoch.rated.n == pytest.approx(511 - fallen.epoch.started_at, rel=12 * FADE)
    assert fallen.epoch.rated.reward_sum <= 5.0


def test_an_arm_that_recovers_is_detected_too() -> None:
    low = after([a_rating(i, float(i % 5 == 0), predicted=0.2) for i in range(100)])

    risen = after([a_rating(100 + i, 1.0, predicted=0.2) for i in range(12)], low)

    assert risen.n_changes == 1
    assert not risen.is_fallen


def test_feedback_on_a_decision_from_before_a_change_no_longer_counts() -> None:
    fallen = after([a_rating(i, 0.0) for i in range(20)], after([a_rating(-1, 1.0)]))

    late = learn(fallen, a_rating(-5, 1.0))

    assert late.epoch.rated == fallen.epoch.rated


def test_late_feedback_on_an_older_decision_does_not_make_the_arm_look_idle_for_longer() -> None:
    history = learn(ArmHistory(), a_rating(900, 0.5))

    late = learn(history, a_rating(100, 0.5))

    assert (late.newest, late.n_rated) == (history.newest, history.n_rated) == (900, 900)


def test_a_prediction_made_before_a_change_does_not_move_the_statistic_after_it() -> None:
    fallen = after([a_rating(i, 0.0) for i in range(12)])

    late = learn(fallen, a_rating(100, 0.0, n_changes=0))

    assert fallen.n_changes == 1
    assert late.fall == replace(fallen.fall, since=late.fall.since)


def healthy(rater: str) -> ArmHistory:
    return after([replace(a_rating(i, float(i % 5 > 0)), rater=rater) for i in range(390)])


def zeros(rater: str, n: int, start: float = 390.0) -> list[Rating]:
    return [replace(a_rating(start + i, 0.0), deviation=0.2, rater=rater) for i in range(n)]


def test_six_bad_ratings_of_the_only_rater_do_not_discard_hundreds_of_good_ones() -> None:
    after_six = after(zeros("app", 6), healthy("app"))
    after_twelve = after(zeros("app", 12), healthy("app"))

    assert (after_six.n_changes, after_six.epoch.rated.n) == (0, 396)
    assert after_six.fall.statistic > ALARM
    assert (after_twelve.n_changes, after_twelve.is_fallen) == (1, True)


def test_bad_ratings_of_old_decisions_alone_raise_no_alarm() -> None:
    old = [replace(rating, decided_at=rating.decided_at - 390) for rating in zeros("app", 30)]

    assert after(old, healthy("app")).n_changes == 0


def test_one_of_two_raters_alone_never_changes_an_arm_and_with_the_other_soon_does() -> None:
    attacked = after(zeros("other", 100), healthy("app"))

    confirmed = after(zeros("app", 2, start=490.0), attacked)

    assert (attacked.n_changes, attacked.fall.statistic) == (0, LARGEST_SHARE)
    assert (confirmed.n_changes, confirmed.is_fallen) == (1, True)


def test_good_ratings_of_another_take_back_what_one_rater_gave_the_statistic() -> None:
    attacked = after(zeros("other", 100), healthy("app"))

    denied = after([replace(a_rating(490.0 + i, 1.0), rater="app") for i in range(12)], attacked)

    assert (denied.n_changes, denied.fall.statistic, denied.fall.shares) == (0, 0.0, ())


def test_a_rater_whose_colleagues_are_silent_for_days_counts_as_the_only_one() -> None:
    later = after(zeros("other", 12, start=390.0 + AWAY_S), healthy("app"))

    assert (later.n_changes, later.is_fallen) == (1, True)


def test_a_history_names_a_bounded_number_of_raters() -> None:
    many = after([replace(a_rating(i, 0.0), rater=f"key {i % 40:02}") for i in range(5)])
    more = after([replace(a_rating(i, 0.7), rater=f"key {i % 40:02}") for i in range(200)])

    assert [rater for rater, _ in many.raters.latest] == [f"key {i:02}" for i in (4, 3, 2, 1, 0)]
    assert len(more.raters.latest) == MOST_RATERS
    assert len(more.fall.shares) <= MOST_RATERS


def test_the_statistic_moves_by_the_surprise_beyond_the_drift() -> None:
    history = learn(ArmHistory(), a_rating(0, 0.4, predicted=0.8))

    assert history.fall.statistic == pytest.approx(1.0 - 0.5)
    assert history.rise.statistic == 0.0
    assert history.fall.since.started_at == -np.inf  # not 0 again, however small
    assert history.rise.since.started_at == 0.0


def test_each_predictions_squared_error_is_added() -> None:
    rating = replace(a_rating(0, 0.5), predicted=(0.0, 0.5, 0.9, 1.0), score=Score(0.5, 0.5))

    history = learn(ArmHistory(), rating)

    assert history.squared_errors == pytest.approx((0.125, 0.0, 0.08, 0.125), abs=1e-6)


def test_one_outrageous_surprise_raises_no_alarm() -> None:
    history = learn(ArmHistory(), replace(a_rating(0, 0.0), deviation=0.001))

    assert history.fall.statistic < ALARM / 4


def test_a_rating_without_logged_predictions_only_adds_to_the_sums() -> None:
    history = learn(ArmHistory(), replace(a_rating(3, 0.5), predicted=None))

    assert (history.epoch.rated.n, history.epoch.rated.reward_sum) == (1.0, 0.5)
    assert history.n_predicted == 0.0
    assert history.fall.statistic == 0.0


def test_a_wrong_number_of_predictions_is_refused() -> None:
    with pytest.raises(ValueError, match="predictions"):
        learn(ArmHistory(), replace(a_rating(0, 0.5), predicted=(0.5,)))


def fallen_arm() -> ArmHistory:
    return after([a_rating(100 + i, 0.0) for i in range(20)], after(coin(0.8, 100, np.random.default_rng(1))))


def test_what_a_fallen_arm_taught_fades_for_good() -> None:
    fallen = fallen_arm()

    tried = learn(fallen, a_rating(500, 1.0))

    assert tried.epoch.rated.n == pytest.approx(fallen.faded(500).n + 1)
    assert tried.faded(500).n < 0.3 * fallen.epoch.rated.n + 1


def test_withdrawing_a_faded_rating_leaves_nothing_of_it() -> None:
    fallen = fallen_arm()
    rated = learn(learn(fallen, a_rating(200, 1.0)), a_rating(400, 0.0))

    withdrawn = learn(rated, replace(a_rating(200, 1.0), score=None, replaces=Score(1.0), is_first=False))

    without = learn(fallen, a_rating(400, 0.0))
    assert withdrawn.epoch.rated.n == pytest.approx(without.epoch.rated.n, abs=1e-5)
    assert withdrawn.epoch.rated.reward_sum == pytest.approx(without.epoch.rated.reward_sum, abs=1e-5)


def test_withdrawing_a_rating_from_before_the_fall_leaves_nothing_of_it() -> None:
    fallen = fallen_arm()
    position = int(fallen.epoch.started_at) + 2

    withdrawn = learn(
        fallen, replace(a_rating(position, 0.0), score=None, replaces=Score(0.0), is_first=False)
    )

    assert fallen.epoch.rated.n - withdrawn.epoch.rated.n == pytest.approx(
        (1 - FADE) ** (fallen.n_rated - fallen.fallen_at), abs=1e-5
    )


def test_a_risen_arm_does_not_fade() -> None:
    low = after([a_rating(i, float(i % 5 == 0), predicted=0.2) for i in range(100)])
    risen = after([a_rating(100 + i, 1.0, predicted=0.2) for i in range(12)], low)

    assert risen.faded(10_000) == risen.epoch.rated
