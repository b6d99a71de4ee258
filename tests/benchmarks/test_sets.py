"""Recorded sets and their streams, made small."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from pyarrow import parquet

from bandit.arrays import Floats
from benchmarks.learner import BASE, Setting, replay, unknown
from benchmarks.measures.changes import returned_after
from benchmarks.memory import Memory, answers, imported
from benchmarks.sets import all_set_names, read_set, set_names
from benchmarks.streams import calibrated, open_stream

N = 200
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a set of two arms, with a vector for each row."""

    def write_set(name: str, scores: Floats, latencies: Floats | None = None) -> Path:
        n = scores.shape[0]
        columns: dict[str, object] = {
            "prompt": [f"prompt {row}" for row in range(n)],
            "category": [f"kind {row % 3}" for row in range(n)],
        }
        for arm in range(scores.shape[1]):
            columns |= {f"score:arm-{arm}": scores[:, arm], f"cost:arm-{arm}": np.full(n, 1.0 + arm)}
            if latencies is not None:
                columns[f"latency:arm-{arm}"] = latencies[:, arm]
        parquet.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
        vectors = np.random.default_rng(0).normal(size=(n, 8))
        np.savez(tmp_path / f"{name}.emb.npz", emb=vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        return tmp_path

    return write_set


def test_seconds_are_read_and_0_where_none_were_recorded(write: Write) -> None:
    folder = write("timed", np.ones((3, 2)), np.array([[1.0, 2.0], [np.nan, 4.0], [5.0, 6.0]]))
    write("untimed", np.ones((3, 2)))

    assert read_set(folder, "timed").latencies.tolist() == [[1.0, 2.0], [0.0, 4.0], [5.0, 6.0]]
    assert not read_set(folder, "untimed").latencies.any()


def test_a_set_without_prompts_knows_the_category_alone(write: Write) -> None:
    folder = write("coderouter", np.ones((6, 2)))

    recorded = read_set(folder, "coderouter")

    assert recorded.is_tagged
    assert (recorded.contexts @ recorded.contexts.T == (recorded.tags[:, None] == recorded.tags)).all()
    assert (set_names(folder), all_set_names(folder)) == ([], ["coderouter"])


def test_a_hard_version_has_a_fifth_of_the_rows_and_fewer_of_them_are_solved(write: Write) -> None:
    scores = (np.random.default_rng(0).random((500, 1)) < 0.7) * np.ones((500, 2))
    folder = write("plain", scores)

    hard = read_set(folder, "plain", is_hard=True)

    assert hard.n == 100
    assert hard.scores.mean() < scores.mean() - 0.2


def test_calibrated_prompts_are_in_no_stream(write: Write) -> None:
    scores = np.random.default_rng(1).random((N, 2))
    folder = write("plain", scores)

    none, some, more = (
        calibrated(folder, "plain", 5, k, left_out=60, is_hard=False, n=1000) for k in (0, 30, 60)
    )

    assert none.prompts == some.prompts == more.prompts
    assert none.shape == (N - 60, 2)
    assert some.calibration is not None
    known = {tuple(row) for row in some.calibration.scores.tolist()}
    assert len(known) == 30
    assert known.isdisjoint(tuple(row) for row in none.scores.tolist())


def test_a_calibrated_prompt_is_recalled_with_the_answers_of_every_arm(write: Write) -> None:
    folder = write("plain", np.random.default_rng(1).random((N, 2)))
    stream = calibrated(folder, "plain", 5, 30, left_out=60, is_hard=False, n=1000)
    assert stream.calibration is not None
    memory = Memory.of(stream)

    positions, similarity, prompt = answers(np.array([-1, -30]), np.array([0.9, 0.2]), 2)

    assert memory.arm[positions].tolist() == [0, 1, 0, 1]
    assert memory.reward[positions].tolist() == [
        *stream.calibration.scores[-1],
        *stream.calibration.scores[0],
    ]
    assert similarity.tolist() == [0.9, 0.9, 0.2, 0.2]
    assert prompt.tolist() == [0, 0, 1, 1]
    assert (stream.neighbours[0][stream.similarity[0] > 0] < 0).all()


def test_every_answer_of_a_calibration_is_one_rating(write: Write) -> None:
    folder = write("plain", np.ones((N, 2)) * [0.25, 0.75])
    stream = calibrated(folder, "plain", 5, 30, left_out=60, is_hard=False, n=1000)
    assert stream.calibration is not None

    histories = imported(stream.calibration)

    assert [history.epoch.rated.n for history in histories] == [30, 30]
    assert [history.epoch.rated.reward_sum for history in histories] == [7.5, 22.5]


def test_calibrated_prompts_show_the_better_arm_before_the_first_request(write: Write) -> None:
    folder = write("plain", np.ones((N, 2)) * [0.2, 0.9])
    stream = calibrated(folder, "plain", 5, 30, left_out=60, is_hard=False, n=1000)

    chosen = replay(stream, Setting(0.0, unknown(stream)), seed=1).chosen

    assert (chosen == 1).mean() > 0.98


def test_a_replay_prefers_the_faster_of_two_equal_arms_only_if_speed_has_a_weight(write: Write) -> None:
    stream = open_stream(write("timed", np.ones((N, 2)) * 0.5, np.ones((N, 2)) * [9.0, 1.0]), "timed", 5)
    setting = Setting(0.0, unknown(stream))

    weighing = replay(stream, setting, 1, replace(BASE, latency_weight=0.5)).chosen
    ignoring = replay(stream, setting, 1).chosen

    assert (weighing == 1).mean() > 0.9
    assert (ignoring == 1).mean() < 0.9
    assert (np.diff(stream.utilities(0.0, 0.5), axis=1) > 0.1).all()
    assert not np.diff(stream.utilities(0.0), axis=1).any()


def test_traffic_is_back_at_the_end_of_the_first_window_that_has_it() -> None:
    is_best = np.concatenate([np.zeros(30), np.ones(100)]) > 0

    assert returned_after(is_best, share=1.0) == 70  # 40 of requests 20 to 69
    assert returned_after(is_best, share=0.5) == 50  # 20 of the first 50
    assert returned_after(np.zeros(100, np.bool_), share=0.5) is None
