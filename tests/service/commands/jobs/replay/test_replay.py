"""A replay from the prompt to the report, with a router that chooses at random."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import numpy as np
import pyarrow  # type: ignore[import-untyped]  # pyarrow has no types
import pytest
from pyarrow import parquet

from service.commands.jobs.replay.demo import DEMO_FILE, replay_file
from service.commands.jobs.replay.extra import require_extra
from service.commands.jobs.replay.outcomes import Outcomes, read_outcomes
from service.commands.jobs.replay.report import Failed, Gain, Report, Routed
from service.commands.jobs.replay.stream import replay, save
from service.commands.jobs.replay.tariff import arms_for, router_settings
from service.commands.jobs.replay.upstream import RecordedUpstream
from service.domain.basics import Json
from service.errors import RouterError, StartupError
from service.settings.settings import Settings
from tests.service.commands.jobs.replay.fake_router import OVERHEAD_MS, FakeRouter

N = 24


@pytest.fixture
def outcomes() -> Outcomes:
    rng = np.random.default_rng(3)
    return Outcomes(
        prompts=tuple(f"question {i}: what follows {i}?" for i in range(N)),
        models=("sim-cheap", "sim-dear"),
        scores=np.column_stack([rng.random(N) * 0.5, rng.random(N) * 0.5 + 0.5]),
        costs_usd=np.column_stack([rng.random(N) * 1e-5 + 1e-6, rng.random(N) * 1e-3 + 1e-4]),
        categories=("numbers",) * N,
    )


def routed(outcomes: Outcomes, column: int) -> list[Routed]:
    """Every row answered by one model, billed as recorded."""
    model = outcomes.models[column]
    costs = outcomes.costs_usd[:, column]
    return [Routed(row, model, float(cost), overhead_ms=row) for row, cost in enumerate(costs)]


def write(path: Path, columns: dict[str, list[object]]) -> Path:
    parquet.write_table(pyarrow.table(columns), path)
    return path


# --- the whole -----------------------------------------------------------------------------------------


async def test_every_row_is_sent_once_and_rated_as_recorded_for_the_model_that_answered(
    outcomes: Outcomes,
) -> None:
    async with RecordedUpstream(outcomes) as upstream:
        router = FakeRouter(
            router_settings(outcomes, upstream.base_url),
            choose=lambda prompt: outcomes.models[outcomes.prompts.index(prompt) % 2],
        )
        async with router.serve() as url:
            report = await replay(outcomes, url=url)

    assert sorted(router.prompts) == sorted(outcomes.prompts)
    expected = [outcomes.scores[row, row % 2] for row in range(N)]
    assert sorted(router.ratings.values()) == pytest.approx(sorted(expected))
    assert (report.n, report.n_failed) == (N, 0)
    assert report.router.mean_score == pytest.approx(np.mean(expected))
    assert report.shares == {"sim-cheap": 0.5, "sim-dear": 0.5}
    assert report.overhead_ms_p50 == OVERHEAD_MS


async def test_the_billed_dollars_are_the_recorded_dollars(outcomes: Outcomes) -> None:
    async with (
        RecordedUpstream(outcomes) as upstream,
        FakeRouter(router_settings(outcomes, upstream.base_url)).serve() as url,
    ):
        report = await replay(outcomes, url=url)

    assert report.router.cost_usd == pytest.approx(report.recorded_cost_usd, rel=0.01)


async def test_one_request_at_a_time_keeps_the_order_and_a_seed_shuffles_the_same_way(
    outcomes: Outcomes,
) -> None:
    async with RecordedUpstream(outcomes) as upstream:
        plain, first, second = (FakeRouter(router_settings(outcomes, upstream.base_url)) for _ in range(3))
        for router, seed in ((plain, None), (first, 5), (second, 5)):
            async with router.serve() as url:
                await replay(outcomes, url=url, rows=10, concurrency=1, seed=seed)

    assert plain.prompts == list(outcomes.prompts[:10])
    assert first.prompts == second.prompts != plain.prompts


async def test_failed_requests_are_counted_shown_and_left_out_of_the_comparison(outcomes: Outcomes) -> None:
    async with RecordedUpstream(outcomes) as upstream:
        router = FakeRouter(
            router_settings(outcomes, upstream.base_url),
            choose=lambda _: "sim-dear",
            fails_on=lambda prompt: prompt in outcomes.prompts[:7],
        )
        async with router.serve() as url:
            report = await replay(outcomes, url=url)

    assert (report.n, report.n_failed, len(router.ratings)) == (N, 7, N - 7)
    assert len(report.errors) == 5
    assert "503" in report.errors[0]
    assert report.best.mean_score == pytest.approx(outcomes.scores[7:, 1].mean())
    assert "failed requests: 7" in report.verdict


async def test_a_replay_in_which_every_request_fails_reports_the_first_error(outcomes: Outcomes) -> None:
    async with RecordedUpstream(outcomes) as upstream:
        router = FakeRouter(router_settings(outcomes, upstream.base_url), fails_on=lambda _: True)
        async with router.serve() as url:
            with pytest.raises(RouterError, match=r"all 24 requests failed.*503"):
                await replay(outcomes, url=url)


async def test_progress_counts_every_request(outcomes: Outcomes) -> None:
    calls: list[tuple[int, int]] = []
    async with (
        RecordedUpstream(outcomes) as upstream,
        FakeRouter(router_settings(outcomes, upstream.base_url)).serve() as url,
    ):
        await replay(outcomes, url=url, rows=6, progress=lambda done, of: calls.append((done, of)))

    assert calls == [(done, 6) for done in range(1, 7)]


async def test_a_missing_router_is_reported_with_its_address(outcomes: Outcomes) -> None:
    async with FakeRouter({"models": []}).serve() as url:
        pass

    with pytest.raises(StartupError, match=f"no router answers at {url}"):
        await replay(outcomes, url=url)


async def test_a_router_with_other_arms_is_refused_before_anything_is_sent(outcomes: Outcomes) -> None:
    router = FakeRouter({"models": [{"id": "gpt-of-somebody"}]})
    async with router.serve() as url:
        with pytest.raises(StartupError, match="recorded models only, got \\['gpt-of-somebody'\\]"):
            await replay(outcomes, url=url)

    assert router.prompts == []


@pytest.mark.parametrize(
    ("numbers", "rule"),
    [
        ({"rows": 0}, "rows must be at least 1, got 0"),
        ({"concurrency": 0}, "concurrency must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
async def test_a_number_out_of_range_is_named(outcomes: Outcomes, numbers: dict[str, int], rule: str) -> None:
    with pytest.raises(StartupError, match=rule):
        await replay(outcomes, url="http://127.0.0.1:9", **numbers)  # type: ignore[arg-type]


async def test_a_replay_needs_no_prepared_router(tmp_path: Path) -> None:
    def start(settings: Json) -> AbstractAsyncContextManager[str]:
        return FakeRouter(settings).serve()

    report = await replay_file(start_router=start, rows=40, out_dir=tmp_path)

    assert (report.n, report.n_failed) == (40, 0)
    assert (tmp_path / "report.txt").read_text().rstrip().endswith(report.verdict)


# --- the report ----------------------------------------------------------------------------------------


def test_the_report_of_a_constant_choice_is_that_models_row(outcomes: Outcomes) -> None:
    report = Report.of(outcomes, routed(outcomes, 1), [])

    assert report.router.mean_score == report.best.mean_score
    assert report.router.cost_usd == pytest.approx(report.best.cost_usd)
    assert (report.best.name, report.cheapest.name) == ("sim-dear", "sim-cheap")
    assert report.random.mean_score == pytest.approx(outcomes.scores.mean())
    assert report.random.cost_usd == pytest.approx(outcomes.costs_usd.mean(axis=1).sum())
    assert report.overhead_ms_p95 == pytest.approx(np.percentile(range(N), 95))


def test_the_oracle_chooses_the_cheapest_of_the_best() -> None:
    outcomes = Outcomes(
        prompts=("a", "b"),
        models=("x", "y"),
        scores=np.array([[1.0, 1.0], [0.0, 0.5]]),
        costs_usd=np.array([[0.3, 0.2], [0.1, 0.4]]),
        categories=("", ""),
    )
    report = Report.of(outcomes, routed(outcomes, 0), [])

    assert report.oracle.mean_score == 0.75
    assert report.oracle.cost_usd == pytest.approx(0.6)


@pytest.mark.parametrize(("column", "score", "dollars"), [(0, "NO", "yes"), (1, "yes", "NO")])
def test_the_verdict_judges_score_and_dollars_apart(
    outcomes: Outcomes, column: int, score: str, dollars: str
) -> None:
    report = Report.of(outcomes, routed(outcomes, column), [])

    assert f"on score: {score}" in report.verdict
    assert f"on dollars: {dollars}" in report.verdict
    assert not report.beats_random


def test_a_gain_smaller_than_twice_its_error_is_called_noise() -> None:
    clear, doubtful, loss = (
        Gain.of(np.full(9, 0.1)),
        Gain.of(np.array([1.0, -0.9])),
        Gain.of(np.full(9, -0.1)),
    )

    assert (clear.verdict, doubtful.verdict, loss.verdict) == ("yes", "yes, but within noise", "NO")
    assert doubtful.standard_error == pytest.approx(0.95)


def test_a_learning_curve_is_a_rolling_mean_of_the_answered_rows(outcomes: Outcomes) -> None:
    curve = Report.of(outcomes, routed(outcomes, 0), []).curve

    assert (curve.window, curve.first) == (3, 1)
    assert curve.score[0] == outcomes.scores[0, 0]
    assert curve.score[3] == pytest.approx(outcomes.scores[1:4, 0].mean())
    assert curve.random_cost_usd[-1] == pytest.approx(outcomes.costs_usd[-3:].mean())
    assert len(curve.score) == len(curve.random_cost_usd) == N


def test_a_report_is_saved_as_text_json_and_picture(outcomes: Outcomes, tmp_path: Path) -> None:
    report = Report.of(outcomes, routed(outcomes, 1), [Failed(3, "completion: 503")])

    save(report, tmp_path / "new")

    assert "failed: row 3: completion: 503" in (tmp_path / "new" / "report.txt").read_text()
    assert json.loads((tmp_path / "new" / "report.json").read_text())["verdict"] == report.verdict
    assert (tmp_path / "new" / "report.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_of_one_row_and_no_dollars_can_still_be_drawn(tmp_path: Path) -> None:
    outcomes = Outcomes(("a",), ("x",), np.array([[1.0]]), np.array([[0.0]]), ("",))
    report = Report.of(outcomes, [Routed(0, "x", 0.0, 1.0)], [])

    save(report, tmp_path)

    assert report.router.mean_score == 1.0


# --- what it reads -------------------------------------------------------------------------------------


def test_outcomes_are_read_by_column_name_and_a_repeated_prompt_keeps_its_first_row(tmp_path: Path) -> None:
    columns: dict[str, list[object]] = {
        "prompt": ["a", "b", "a"],
        "cost:y": [0.1, 0.2, 0.3],
        "score:x": [0.0, 1.0, 0.5],
        "cost:x": [1.0, 2.0, 3.0],
        "score:y": [0.25, 0.5, 0.75],
        "category": ["s", "t", "u"],
    }
    read = read_outcomes(write(tmp_path / "f.parquet", columns))

    assert (read.prompts, read.models, read.categories) == (("a", "b"), ("x", "y"), ("s", "t"))
    assert read.scores.tolist() == [[0.0, 0.25], [1.0, 0.5]]
    assert read.costs_usd.tolist() == [[1.0, 0.1], [2.0, 0.2]]


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        ({"prompt": ["a"]}, "needs the columns"),
        ({"prompt": ["a"], "score:x": [1.0]}, "needs the columns"),
        ({"prompt": [None], "score:x": [1.0], "cost:x": [1.0]}, "text in every row"),
        ({"prompt": [], "score:x": [], "cost:x": []}, "at least one row"),
        ({"prompt": ["a"], "score:x": [1.5], "cost:x": [1.0]}, r"score:x must be in \[0, 1\]"),
        ({"prompt": ["a"], "score:x": [None], "cost:x": [1.0]}, "score:x must"),
        ({"prompt": ["a"], "score:x": [1.0], "cost:x": [-1.0]}, "cost:x must be in"),
        ({"prompt": ["a"], "score:x": ["good"], "cost:x": [1.0]}, "score:x must hold numbers"),
    ],
)
def test_a_file_of_another_form_is_refused_with_the_rule_it_breaks(
    tmp_path: Path, columns: dict[str, list[object]], rule: str
) -> None:
    path = write(tmp_path / "f.parquet", columns)

    with pytest.raises(StartupError, match=rule):
        read_outcomes(path)


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_text("no parquet")])
def test_a_missing_or_foreign_file_is_refused_with_its_name(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    path = tmp_path / "f.parquet"
    make(path)

    with pytest.raises(StartupError, match=r"f\.parquet: cannot be read as Parquet"):
        read_outcomes(path)


def test_a_missing_package_is_reported_with_the_command_that_installs_it() -> None:
    with pytest.raises(StartupError, match=r"needs pyarrow: pip install pyarrow"):
        require_extra(lambda name: None if name == "pyarrow" else name)


def test_the_printed_settings_are_valid_and_have_no_prior(outcomes: Outcomes) -> None:
    settings = Settings.model_validate(router_settings(outcomes, "http://127.0.0.1:9/v1"))

    assert [model.id for model in settings.models] == list(outcomes.models)
    assert all(model.prior_quality is None for model in settings.models)
    assert settings.latency_weight == 0
    assert float(settings.budget_usd_per_request or 0) == pytest.approx(
        outcomes.costs_usd.mean() / 2, rel=1e-5
    )


def test_a_model_that_costs_nothing_has_no_price() -> None:
    free = Outcomes(("a", "b"), ("x",), np.array([[1.0], [0.0]]), np.array([[0.0], [0.0]]), ("", ""))

    (arm,) = arms_for(free, "http://127.0.0.1:9/v1")

    assert arm["price"] == {"input": 0.0, "output": 0.0}


# --- the rows made for the demo ------------------------------------------------------------------------


def test_the_demo_file_is_the_output_of_its_generator(tmp_path: Path) -> None:
    from benchmarks.make_demo import main

    main(tmp_path / "again.parquet")
    again, shipped = read_outcomes(tmp_path / "again.parquet"), read_outcomes(DEMO_FILE)

    assert (again.prompts, again.models) == (shipped.prompts, shipped.models)
    assert np.array_equal(again.scores, shipped.scores)
    assert np.allclose(again.costs_usd, shipped.costs_usd, rtol=1e-12)


def test_in_the_demo_a_choice_by_topic_beats_every_single_model() -> None:
    shipped = read_outcomes(DEMO_FILE)
    categories = np.array(shipped.categories)
    utility = 0.6 * shipped.scores - 0.2 * shipped.costs_usd / shipped.costs_usd.max(axis=1, keepdims=True)

    by_topic = np.array([utility[categories == topic].mean(axis=0).max() for topic in categories])

    assert all(model.startswith("sim-") for model in shipped.models)
    assert by_topic.mean() > utility.mean(axis=0).max() + 0.1
