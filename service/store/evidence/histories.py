"""The arms' histories: what each event adds to them, and their table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce

import orjson
from asyncpg import Record

from bandit.drift import ArmHistory, Epoch, RatedSums, Rating, Score, Side, learn
from bandit.raters import Raters, largest
from service.domain.basics import Json
from service.domain.feedback import NO_RATER, Rater, Reward
from service.domain.logged_words import in_current_words_of_candidate
from service.store.connection.pool import Connection
from service.store.evidence.standing_feedback import StandingFeedback

Versioned = tuple[int, ArmHistory]  # of two readings of one row, the one with the larger version is newer


@dataclass(frozen=True, slots=True)
class RecordedFeedback:
    """One event on a decision, with the logged values that histories need.

    Args:
        before, after: the standing feedback on the decision before and after the event.
        is_first: whether this arm was never scored for this decision before.
        rater: of the event; None: of an imported one.
    """

    decided_at: datetime
    n_rated: float | None
    candidates: Sequence[Json]
    before: StandingFeedback
    after: StandingFeedback
    is_first: bool
    rater: Rater | None = NO_RATER

    def ratings(self) -> dict[str, list[Rating]]:
        """The changes of each arm whose history the event changes: of its signals' reward, and of its score.

        Signals count in the sums only. They have no prediction, so no squared error includes them, neither
        when they arrive nor when a score replaces them.
        """
        by_arm: dict[str, list[Rating]] = {}
        for arm_id in self.before.arms | self.after.arms:
            was, now = self.before.signalled(arm_id), self.after.signalled(arm_id)
            if was != now:
                by_arm.setdefault(arm_id, []).append(self._rating(was, now, is_first=True))
            was, now = self.before.scored(arm_id), self.after.scored(arm_id)
            if was != now:
                candidate = self._candidate(arm_id)
                rating = self._rating(
                    was, now, is_first=self.is_first, candidate=candidate, rater=_name_of(self.rater)
                )
                by_arm.setdefault(arm_id, []).append(rating)
        return by_arm

    def _rating(
        self,
        was: Reward | None,
        now: Reward | None,
        *,
        is_first: bool,
        candidate: Json | None = None,
        rater: str | None = None,
    ) -> Rating:
        return Rating(
            decided_at=self.decided_at.timestamp(),
            n_rated=self.n_rated or 0.0,
            n_changes=candidate["prior_state"]["n_changes"] if candidate else 0,
            predicted=tuple(candidate["predicted"]) if candidate else None,
            deviation=candidate["prior_state"]["deviation"] if candidate else 1.0,
            score=_score_of(now),
            replaces=_score_of(was),
            is_first=is_first,
            rater=rater,
        )

    def _candidate(self, arm_id: str) -> Json | None:
        """The logged candidate with its prediction; None: the arm was none, or no prediction was logged."""
        logged = next((c for c in self.candidates if c["arm_id"] == arm_id), None)
        if logged is None:
            return None
        candidate = in_current_words_of_candidate(logged)
        return candidate if candidate.get("prior_state") else None


def _name_of(rater: Rater | None) -> str | None:
    """The rater in histories: its key, or nothing for all who have none."""
    if rater is None:
        return None
    return "" if rater.key_id is None else str(rater.key_id)


def _score_of(reward: Reward | None) -> Score | None:
    return None if reward is None else Score(float(reward.value), float(reward.weight))


def folded(histories: Mapping[str, ArmHistory], feedback: RecordedFeedback) -> dict[str, ArmHistory]:
    """The histories that the event changes, after it."""
    return {
        arm_id: reduce(learn, ratings, histories.get(arm_id, ArmHistory()))
        for arm_id, ratings in feedback.ratings().items()
    }


# --- the table -----------------------------------------------------------------------------------------

# Locks the row, or creates it. The lock precedes the number of the event, so an arm's events are applied in
# the order of their numbers. The lock is a write, so a rebuild blocks it.
_LOCK = """
INSERT INTO histories AS h
    (tenant, arm_id, started_at, n, reward_sum, n_changes, n_predicted, squared_errors, rise_statistic,
     rise_started_at, rise_n, rise_reward_sum, fall_statistic, fall_started_at, fall_n, fall_reward_sum,
     newest, n_rated, is_fallen, version, changed_in)
VALUES ($1, $2, '-Infinity', 0, 0, 0, 0, '{0,0,0,0}', 0, '-Infinity', 0, 0, 0, '-Infinity', 0, 0, '-Infinity',
    0, false, 0, pg_current_xact_id())
ON CONFLICT (tenant, arm_id) DO UPDATE SET version = h.version
RETURNING *
"""
_SAVE = """
UPDATE histories
SET started_at = $3, n = $4, reward_sum = $5, n_changes = $6, n_predicted = $7,
    squared_errors = $8::text::float8[], rise_statistic = $9, rise_started_at = $10, rise_n = $11,
    rise_reward_sum = $12, fall_statistic = $13, fall_started_at = $14, fall_n = $15, fall_reward_sum = $16,
    newest = $17, n_rated = $18, is_fallen = $19, fallen_at = $20, raters = $21::text::json,
    version = version + 1, changed_in = pg_current_xact_id()
WHERE tenant = $1 AND arm_id = $2
RETURNING version
"""


async def lock_histories(
    connection: Connection, tenant: str, arm_ids: Collection[str]
) -> dict[str, ArmHistory]:
    """The arms' histories, locked in order of their ids until the transaction ends."""
    return {
        arm_id: history_of(await connection.fetchrow(_LOCK, tenant, arm_id)) for arm_id in sorted(arm_ids)
    }


async def save_histories(
    connection: Connection, tenant: str, histories: Mapping[str, ArmHistory]
) -> dict[str, Versioned]:
    """Write histories whose rows are locked."""
    saved = {}
    for arm_id, history in histories.items():
        version = await connection.fetchval(_SAVE, tenant, arm_id, *columns_of(history))
        saved[arm_id] = (version, history)
    return saved


def history_of(row: Record | None) -> ArmHistory:
    """A row of `histories`."""
    assert row is not None
    raters = orjson.loads(row["raters"])
    return ArmHistory(
        epoch=Epoch(row["started_at"], RatedSums(row["n"], row["reward_sum"])),
        n_changes=row["n_changes"],
        n_predicted=row["n_predicted"],
        squared_errors=tuple(row["squared_errors"]),
        rise=_side(row, "rise", raters),
        fall=_side(row, "fall", raters),
        newest=row["newest"],
        n_rated=row["n_rated"],
        is_fallen=row["is_fallen"],
        fallen_at=row["fallen_at"],
        raters=Raters(largest(raters.get("latest", {}))),
    )


def _side(row: Record, name: str, raters: Json) -> Side:
    rated = RatedSums(row[f"{name}_n"], row[f"{name}_reward_sum"])
    epoch = Epoch(row[f"{name}_started_at"], rated)
    return Side(row[f"{name}_statistic"], epoch, largest(raters.get(name, {})))


def columns_of(history: ArmHistory) -> tuple[object, ...]:
    """The values from `started_at` to `raters` of a row of `histories`; errors as text of an array."""
    return (
        history.epoch.started_at,
        history.epoch.rated.n,
        history.epoch.rated.reward_sum,
        history.n_changes,
        history.n_predicted,
        "{" + ",".join(repr(float(error)) for error in history.squared_errors) + "}",
        *_side_columns(history.rise),
        *_side_columns(history.fall),
        history.newest,
        history.n_rated,
        history.is_fallen,
        history.fallen_at,
        _raters_text(history),
    )


def _side_columns(side: Side) -> tuple[float, ...]:
    return side.statistic, side.since.started_at, side.since.rated.n, side.since.rated.reward_sum


def _raters_text(history: ArmHistory) -> str:
    """JSON of all that a history has by rater; a number is written so that it is read as the same double."""
    return orjson.dumps(
        {
            "latest": dict(history.raters.latest),
            "rise": dict(history.rise.shares),
            "fall": dict(history.fall.shares),
        }
    ).decode()
