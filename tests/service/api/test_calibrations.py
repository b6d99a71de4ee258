"""/admin/calibrations, against models that a test scripts."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from service.calibration import calibrations as calibrations_module
from service.domain.basics import Json
from service.domain.calibration import Calibration
from service.errors import ProviderBroken
from tests.fakes import FakeStore, Reply
from tests.service.world import World, arm, error_of, opened

PATH = "/admin/calibrations"
PROMPTS = [{"prompt": "What is 6 * 7?", "expected": "42"}, {"prompt": "What is 40 + 2?", "expected": "42"}]
USAGE_USD = {"small": 0.00003, "medium": 0.00015, "large": 0.0006}  # of one answer of the fake models
ALL_USD = 2 * sum(USAGE_USD.values())


def wanted(**changes: object) -> Json:
    body: Json = {"grader": "contains", "max_usd": 1, "prompts": PROMPTS, "concurrency": 1, **changes}
    return {name: value for name, value in body.items() if value is not ...}


async def start(world: World, **changes: object) -> Json:
    response = await world.http.post(PATH, json=wanted(**changes))
    assert response.status_code == 202, response.text
    started: Json = response.json()
    return started


async def shown(world: World, calibration_id: str) -> Json:
    response = await world.http.get(f"{PATH}/{calibration_id}")
    assert response.status_code == 200, response.text
    calibration: Json = response.json()
    return calibration


async def ended(world: World, calibration_id: str) -> Json:
    """The calibration once it has ended and its end is stored."""
    await world.parts.calibrations.wait()
    return await shown(world, calibration_id)


async def answered(world: World, calibration_id: str, n: int) -> None:
    """Wait until the calibration has so many answers."""
    while (await shown(world, calibration_id))["progress"]["answers"] < n:  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0)


async def settled() -> None:
    """Let every task run until it waits."""
    for _ in range(100):
        await asyncio.sleep(0)


def right(world: World, *arms: str, n: int = 2) -> None:
    for arm_id in arms:
        world.model_client.will(arm_id, *[Reply(("It is ", "42."))] * n)


# --- a whole calibration


async def test_every_model_answers_every_prompt_and_the_router_learns(world: World) -> None:
    right(world, "small", "large")

    started = await start(world)
    done = await ended(world, started["id"])

    assert (started["state"], started["progress"]["of"]) == ("running", 6)
    assert (done["state"], done["error"]) == ("done", None)
    assert done["progress"] == {"answers": 6, "of": 6, "without_score": 0}
    assert done["spent_usd"] == pytest.approx(ALL_USD)
    assert done["max_usd"] == 1
    assert done["rows"] == {"imported": 6}
    assert done["ended_at"] is not None
    assert done["options"]["models"] == "all"
    assert "prompts" not in done["options"]
    quality = {m["model"]: m["quality"]["value"] for m in done["report"]["models"]}
    assert quality == {"small": 1, "large": 1, "medium": 0}
    evidence = {m["id"]: m["evidence"] for m in (await world.http.get("/admin/models")).json()["data"]}
    assert {arm: e["mean_reward"] for arm, e in evidence.items()} == {"small": 1, "medium": 0, "large": 1}


async def test_a_list_shows_the_newest_first_without_their_reports(world: World) -> None:
    first = await start(world, models=["small"])
    await ended(world, first["id"])
    world.clock.advance(60)
    second = await start(world, models=["mini", "small"], **{"import": False})
    await ended(world, second["id"])

    listed = (await world.http.get(PATH)).json()["data"]

    assert [one["id"] for one in listed] == [second["id"], first["id"]]
    assert [one["state"] for one in listed] == ["done", "done"]
    assert [one["progress"]["of"] for one in listed] == [2, 2]  # an alias is the same model
    assert [one["report"] for one in listed] == [None, None]


async def test_without_import_nothing_is_learned(world: World) -> None:
    right(world, "small")

    started = await start(world, models=["small"], **{"import": False})
    done = await ended(world, started["id"])

    assert (done["state"], done["rows"]) == ("done", {})
    assert [model["model"] for model in done["report"]["models"]] == ["small"]
    assert not world.store.decisions


async def test_without_the_encoder_there_is_a_report_all_the_same(world: World) -> None:
    world.encoder.is_down = True

    started = await start(world, models=["small"], **{"import": False})
    done = await ended(world, started["id"])

    assert (done["state"], done["report"]["n_prompts"]) == ("done", 2)


async def test_a_calibration_is_no_traffic(world: World) -> None:
    started = await start(world)
    await ended(world, started["id"])

    stats = (await world.http.get("/v1/stats")).json()
    assert stats["total"]["requests"] == 0


async def test_a_failing_model_has_no_score_and_stops_nothing(world: World) -> None:
    right(world, "large")
    world.model_client.will("small", *[Reply(error=ProviderBroken("small: broken", status=400))] * 2)

    started = await start(world, models=["small", "large"])
    done = await ended(world, started["id"])

    assert done["progress"] == {"answers": 4, "of": 4, "without_score": 2}
    assert done["rows"] == {"imported": 2}
    assert world.parts.catalog.breaker.open_reason(world.parts.catalog.find("small")) is None


async def test_a_request_of_the_log_stands_for_its_kind(tmp_path: Path) -> None:
    async with opened(tmp_path, store_texts=True) as world:
        for n in range(3):
            await world.ask(f"leek soup {n}", temperature=0.5, router={"task": "cooking"})
        await world.background.drain(5.0)
        world.clock.advance(60)
        right(world, "small", n=1)
        world.model_client.will("large", Reply(("Score: 7",)))
        judge = {"grader": "judge:large", "judge_own_family": True}

        started = await start(world, prompts=..., from_log="1h", sample=1, models=["small"], **judge)
        done = await ended(world, started["id"])

        assert (done["progress"]["of"], done["options"]["sample"]) == (1, 1)
        [asked] = [body for arm, body in world.model_client.calls[3:] if arm == "small"]
        assert asked["messages"][0]["content"].startswith("leek soup")
        assert asked["temperature"] == 0.5
        assert done["rows"] == {"imported": 1}


async def test_a_judge_that_can_grade_no_model_is_refused_before_anything_is_spent(world: World) -> None:
    response = await world.http.post(PATH, json=wanted(grader="judge:large"))

    assert (response.status_code, error_of(response)["param"]) == (400, "grader")
    assert "would judge a model of its own family" in error_of(response)["message"]
    assert not world.model_client.calls


async def test_a_log_without_texts_gets_400_with_the_setting(world: World) -> None:
    await world.ask("leek soup")

    response = await world.http.post(PATH, json=wanted(prompts=..., from_log="7d"))

    assert (response.status_code, error_of(response)["param"]) == (400, "from_log")
    assert "STORE_TEXTS is off" in error_of(response)["message"]


async def test_a_dry_run_estimates_the_dollars_and_asks_nobody(world: World) -> None:
    response = await world.http.post(PATH, json=wanted(models=["small", "large"], dry_run=True))

    estimate = response.json()
    assert response.status_code == 200
    assert [(m["model"], m["n_calls"], m["n_unable"]) for m in estimate["models"]] == [
        ("small", 2, 0),
        ("large", 2, 0),
    ]
    assert 0 < estimate["expected_usd"] <= estimate["worst_usd"]
    assert estimate["worst_usd"] == pytest.approx(sum(m["worst_usd"] for m in estimate["models"]))
    assert not world.model_client.calls
    assert not world.store.calibrations


async def test_no_dollars_ask_models_that_cost_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, [arm("paid", "1"), arm("free", "0")], llm_max_tokens=77) as world:
        right(world, "free")

        started = await start(world, max_usd=0)
        capped = await ended(world, started["id"])

        assert [arm_id for arm_id, _ in world.model_client.calls] == ["free", "free"]
        assert {body["max_tokens"] for _, body in world.model_client.calls} == {77}
        assert (capped["state"], capped["spent_usd"], capped["rows"]) == ("capped", 0, {"imported": 2})


# --- what is refused


@pytest.mark.parametrize(
    ("changes", "param", "rule"),
    [
        ({"max_usd": ...}, "max_usd", "field is required"),
        ({"max_usd": -1}, "max_usd", "greater than or equal to 0"),
        ({"max_usd": "much"}, "max_usd", "valid decimal"),
        ({"max_usd": "NaN"}, "max_usd", "finite"),
        ({"grader": ...}, "grader", "field is required"),
        ({"grader": "best"}, "grader", "must be one of exact, contains"),
        ({"grader": "judge:"}, "grader", "must be one of exact, contains"),
        ({"models": []}, "models", "at least 1 item"),
        ({"models": "some"}, "models", "must be `all`, or a list of ids and aliases of models, got 'some'"),
        ({"models": [""]}, "models[0]", "at least 1 character"),
        ({"sample": 0}, "sample", "greater than or equal to 1"),
        ({"sample": "5"}, "sample", "valid integer"),
        ({"sample": 1001}, "sample", "less than or equal to 1000"),
        ({"import": "yes"}, "import", "valid boolean"),
        ({"concurrency": 0}, "concurrency", "greater than or equal to 1"),
        ({"max_answer_tokens": 0}, "max_answer_tokens", "greater than or equal to 1"),
        ({"prompts": ...}, None, "exactly one of prompts and from_log"),
        ({"from_log": "7d"}, None, "exactly one of prompts and from_log"),
        ({"prompts": ..., "from_log": "7x"}, "from_log", "must be a time (2026-11-24T08:00) or an age"),
        ({"prompts": []}, "prompts", "at least 1 item"),
        ({"prompts": "Why?"}, "prompts", "valid list"),
        ({"prompts": [PROMPTS[0], 7]}, "prompts[1]", "must be a JSON object, got 7"),
        ({"prompts": [{"expected": "42"}]}, "prompts[0].prompt", "must have either prompt or messages"),
        ({"prompts": [{"prompt": "Why?", "task": "two words"}]}, "prompts[0].task", "visible ASCII"),
        ({"prompts": [{"prompt": "Why?"}]}, "prompts[0].expected", "is required by the grader contains"),
        ({"prompts": [PROMPTS[0], {**PROMPTS[0], "expected": "7"}]}, "prompts[1]", "graded otherwise"),
        ({"journal": "/etc/passwd"}, "journal", "Extra inputs are not permitted"),
    ],
)
async def test_a_wish_that_breaks_a_rule_gets_400_with_the_field_and_the_rule(
    world: World, changes: Json, param: str | None, rule: str
) -> None:
    response = await world.http.post(PATH, json=wanted(**changes))

    assert response.status_code == 400, response.text
    assert error_of(response)["param"] == param
    assert rule in error_of(response)["message"]
    assert not world.model_client.calls
    assert not world.store.calibrations


@pytest.mark.parametrize(
    ("changes", "param"), [({"models": ["nobody"]}, "models"), ({"grader": "judge:nobody"}, "grader")]
)
async def test_an_unknown_model_gets_404(world: World, changes: Json, param: str) -> None:
    response = await world.http.post(PATH, json=wanted(**changes))

    assert (response.status_code, error_of(response)["param"]) == (404, param)


async def test_an_unknown_model_is_answered_with_the_models_and_not_with_auto(world: World) -> None:
    response = await world.http.post(PATH, json=wanted(models=["auto"]))

    message = error_of(response)["message"]
    assert message == "model 'auto' does not exist; there are: small, medium, large"


@pytest.mark.parametrize("grader", ["unit-tests", "python:os:system", "python:", "python"])
async def test_a_grader_that_runs_code_is_refused_over_http(world: World, grader: str) -> None:
    prompts = [{"prompt": "Write f.", "tests": "assert f() == 1", "expected": "1"}]

    response = await world.http.post(PATH, json=wanted(grader=grader, prompts=prompts))

    assert (response.status_code, error_of(response)["param"]) == (400, "grader")
    assert "ADMIN_RUNS_CODE=false" in error_of(response)["message"]
    assert not world.model_client.calls


async def test_admin_runs_code_allows_such_graders(tmp_path: Path) -> None:
    async with opened(tmp_path, admin_runs_code=True) as world:
        world.model_client.will("small", Reply(("```python\ndef f():\n    return 1\n```",)))
        prompts = [{"prompt": "Write f.", "tests": "assert f() == 1"}]

        started = await start(world, grader="unit-tests", prompts=prompts, models=["small"])
        done = await ended(world, started["id"])

        assert done["rows"] == {"imported": 1}


async def test_a_judge_must_promise_what_the_settings_require(tmp_path: Path) -> None:
    async with opened(tmp_path, required_data_use=("no_training",)) as world:
        response = await world.http.post(PATH, json=wanted(grader="judge:large"))

        assert (response.status_code, error_of(response)["param"]) == (400, "grader")
        assert "does not promise no_training" in error_of(response)["message"]


@pytest.mark.parametrize("calibration_id", ["nonsense", "../admin", "00000000-0000-4000-8000-000000000000"])
async def test_an_unknown_id_gets_404(world: World, calibration_id: str) -> None:
    path = f"{PATH}/{calibration_id}"

    for response in (
        await world.http.get(path),
        await world.http.delete(path),
        await world.http.post(path, json={}),
    ):
        assert response.status_code == 404
        assert error_of(response)["code"] in {"calibration_not_found", "not_found"}


async def test_calibrations_need_the_admin_key(tmp_path: Path) -> None:
    async with opened(tmp_path, admin_key="a key of the operator") as world:
        key = {"Authorization": "Bearer a key of the operator"}

        assert (await world.http.get(PATH)).status_code == 401
        assert (await world.http.post(PATH, json=wanted())).status_code == 401
        assert (await world.http.get(PATH, headers=key)).status_code == 200


# --- stopped, interrupted, capped, failed


Held = tuple[World, str, asyncio.Event]


@pytest.fixture
async def held(world: World) -> Held:
    """A calibration of two models, whose second answer of the large one waits for the event."""
    go_on = asyncio.Event()
    world.model_client.will("large", Reply(("42",)), Reply(("42",), until=go_on))
    right(world, "small")
    started = await start(world, models=["small", "large"])
    await answered(world, started["id"], 3)
    return world, started["id"], go_on


async def test_progress_and_spend_are_shown_while_it_runs(held: Held) -> None:
    world, calibration_id, go_on = held

    running = await shown(world, calibration_id)
    go_on.set()
    done = await ended(world, calibration_id)

    assert (running["state"], running["ended_at"]) == ("running", None)
    assert running["progress"] == {"answers": 3, "of": 4, "without_score": 0}
    assert 0 < running["spent_usd"] < done["spent_usd"]
    assert done["state"] == "done"


async def test_one_runs_at_a_time(held: Held) -> None:
    world, calibration_id, go_on = held

    other = await world.http.post(PATH, json=wanted(grader="exact"))
    same = await world.http.post(f"{PATH}/{calibration_id}", json={})
    go_on.set()
    await ended(world, calibration_id)
    after = await world.http.post(PATH, json=wanted(grader="exact"))

    assert [r.status_code for r in (other, same, after)] == [409, 409, 202]
    assert error_of(other)["code"] == "calibration_conflict"
    assert calibration_id in error_of(other)["message"]


@pytest.mark.parametrize("is_by_id", [True, False], ids=["by its id", "by the same wish"])
async def test_a_stopped_calibration_goes_on_without_paying_twice(held: Held, is_by_id: bool) -> None:
    world, calibration_id, _ = held
    n_paid = 3

    stopped = (await world.http.delete(f"{PATH}/{calibration_id}")).json()
    n_calls = len(world.model_client.calls)
    if is_by_id:
        going_on = await world.http.post(f"{PATH}/{calibration_id}", json={"max_usd": 2})
    else:
        going_on = await world.http.post(PATH, json=wanted(models=["mini", "large"], max_usd=2))
    done = await ended(world, calibration_id)

    assert (stopped["state"], stopped["progress"]["answers"]) == ("stopped", n_paid)
    assert (going_on.status_code, going_on.json()["id"]) == (202, calibration_id)
    assert len(world.model_client.calls) == n_calls + 1
    assert (done["state"], done["max_usd"]) == ("done", 2)
    assert done["spent_usd"] > stopped["spent_usd"]
    assert done["rows"] == {"imported": 4}


async def test_a_calibration_that_is_done_is_not_gone_on_with(world: World) -> None:
    first = await start(world, models=["small"])
    await ended(world, first["id"])

    resumed = await world.http.post(f"{PATH}/{first['id']}", json={})
    world.clock.advance(1)
    again = await start(world, models=["small"])

    assert (resumed.status_code, error_of(resumed)["code"]) == (409, "calibration_conflict")
    assert again["id"] != first["id"]


async def test_deleting_one_that_is_about_to_go_on_stops_it(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, calibration_id, _ = held
    await world.http.delete(f"{PATH}/{calibration_id}")
    calibrations, same = world.parts.calibrations, ("default", UUID(calibration_id))
    is_stored, keep = asyncio.Event(), calibrations.store.keep

    async def keep_later(_: object, calibration: Calibration) -> bool:
        await is_stored.wait()
        return await keep(calibration)

    monkeypatch.setattr(type(calibrations.store), "keep", keep_later)
    resuming = asyncio.create_task(calibrations.resume(*same, None))
    deleting = asyncio.create_task(calibrations.stop(*same))
    await settled()
    is_stored.set()
    await asyncio.gather(resuming, deleting)

    assert (await shown(world, calibration_id))["state"] == "stopped"
    assert [path.name for path in calibrations.folder.iterdir()] == [f"{calibration_id}.journal"]


async def test_deleting_one_that_does_not_run_removes_it_with_its_journal(held: Held) -> None:
    world, calibration_id, _ = held
    folder = world.parts.calibrations.folder
    await world.http.delete(f"{PATH}/{calibration_id}")
    assert [path.name for path in folder.iterdir()] == [f"{calibration_id}.journal"]

    deleted = await world.http.delete(f"{PATH}/{calibration_id}")

    assert deleted.status_code == 200
    assert (await world.http.get(f"{PATH}/{calibration_id}")).status_code == 404
    assert list(folder.iterdir()) == []


Capped = tuple[World, str, asyncio.Event]


@pytest.fixture
async def capped(world: World, monkeypatch: pytest.MonkeyPatch) -> Capped:
    """A calibration that is shown as capped; PostgreSQL has that once the event is set."""
    is_stored, store = asyncio.Event(), world.parts.calibrations.store
    keep = store.keep

    async def keep_ends_later(_: object, calibration: Calibration) -> bool:
        if calibration.state != "running":
            await is_stored.wait()
        return await keep(calibration)

    monkeypatch.setattr(type(store), "keep", keep_ends_later)
    started = await start(world, max_usd="0.0015", max_answer_tokens=100)
    while (await shown(world, started["id"]))["state"] == "running":  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0)
    return world, started["id"], is_stored


async def test_a_list_shows_the_same_as_the_calibration_itself(capped: Capped) -> None:
    world, calibration_id, is_stored = capped

    [listed] = (await world.http.get(PATH)).json()["data"]
    itself = await shown(world, calibration_id)
    is_stored.set()

    assert listed["state"] == itself["state"] == "capped"
    assert listed["rows"] == itself["rows"]
    assert listed["report"] is None


@pytest.mark.parametrize("is_by_id", [True, False], ids=["by its id", "by the same wish"])
async def test_one_that_just_ended_goes_on_once_its_end_is_stored(capped: Capped, is_by_id: bool) -> None:
    world, calibration_id, is_stored = capped

    path = f"{PATH}/{calibration_id}" if is_by_id else PATH
    body = {"max_usd": 1} if is_by_id else wanted(max_answer_tokens=100)
    going_on = asyncio.create_task(world.http.post(path, json=body))
    await settled()
    is_stored.set()

    assert ((await going_on).status_code, (await going_on).json()["id"]) == (202, calibration_id)
    assert (await ended(world, calibration_id))["state"] == "done"


async def test_one_that_just_ended_is_deleted_once_its_end_is_stored(capped: Capped) -> None:
    world, calibration_id, is_stored = capped

    deleting = asyncio.create_task(world.http.delete(f"{PATH}/{calibration_id}"))
    await settled()
    is_stored.set()

    assert (await deleting).status_code == 200
    assert (await world.http.get(f"{PATH}/{calibration_id}")).status_code == 404
    assert list(world.parts.calibrations.folder.iterdir()) == []


async def test_one_whose_end_cannot_be_stored_gets_503(
    capped: Capped, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, calibration_id, is_stored = capped
    monkeypatch.setattr(calibrations_module, "STORED_TIMEOUT_S", 0.001)

    refused = await world.http.post(f"{PATH}/{calibration_id}", json={"max_usd": 1})
    is_stored.set()

    assert refused.status_code == 503
    assert "the end of an earlier calibration is not stored yet" in error_of(refused)["message"]


async def test_the_cap_is_kept_and_more_dollars_go_on(world: World) -> None:
    started = await start(world, max_usd="0.0015", max_answer_tokens=100)
    capped = await ended(world, started["id"])
    again = await start(world, max_usd=1, max_answer_tokens=100)
    done = await ended(world, again["id"])

    assert capped["state"] == "capped"
    assert capped["progress"]["without_score"] > 0
    assert capped["spent_usd"] <= 0.0015
    assert (again["id"], done["state"]) == (started["id"], "done")
    assert (again["rows"], again["report"]) == ({}, None)
    assert done["spent_usd"] == pytest.approx(ALL_USD)
    assert len(world.model_client.calls) == 6


async def test_a_router_that_died_leaves_it_interrupted_and_another_goes_on(tmp_path: Path) -> None:
    store = FakeStore()
    async with opened(tmp_path, store=store) as world:
        world.model_client.will("large", Reply(until=asyncio.Event()))
        started = await start(world, models=["small", "large"])
        await answered(world, started["id"], 1)
        await world.parts.calibrations.close()
        assert store.calibrations  # as it was when the router ended
    async with opened(tmp_path, store=store) as world:
        before = await shown(world, started["id"])
        going_on = await world.http.post(f"{PATH}/{started['id']}")
        done = await ended(world, started["id"])

        assert before["state"] == "interrupted"
        assert going_on.status_code == 202
        assert done["state"] == "done"
        assert [arm for arm, _ in world.model_client.calls].count("small") < 2


async def test_one_that_ran_with_another_data_dir_cannot_go_on_here(held: Held) -> None:
    world, calibration_id, _ = held
    await world.http.delete(f"{PATH}/{calibration_id}")
    (world.parts.calibrations.folder / f"{calibration_id}.journal").unlink()

    by_id = await world.http.post(f"{PATH}/{calibration_id}", json={})
    same = await world.http.post(PATH, json=wanted(models=["small", "large"]))

    for response in (by_id, same):
        assert (response.status_code, error_of(response)["code"]) == (409, "calibration_conflict")
        assert "in the DATA_DIR of another router" in error_of(response)["message"]


async def test_without_postgresql_nothing_is_started(world: World) -> None:
    world.store.is_down = True

    response = await world.http.post(PATH, json=wanted())

    assert response.status_code == 503
    assert not world.model_client.calls
    assert not list(world.parts.calibrations.folder.glob("*"))


async def test_an_import_that_fails_can_be_repeated_without_asking_again(held: Held) -> None:
    world, calibration_id, go_on = held
    world.encoder.is_down = True
    go_on.set()
    failed = await ended(world, calibration_id)
    n_calls = len(world.model_client.calls)
    world.encoder.is_down = False
    await world.http.post(f"{PATH}/{calibration_id}", json={})
    done = await ended(world, calibration_id)

    assert failed["state"] == "failed"
    assert "encoder" in failed["error"]
    assert (done["state"], done["rows"]) == ("done", {"imported": 4})
    assert len(world.model_client.calls) == n_calls
    assert Decimal(str(done["spent_usd"])) == Decimal(str(failed["spent_usd"]))


@pytest.mark.parametrize("changes", [{"max_usd": -1}, {"max_usd": "some"}, {"grader": "exact"}])
async def test_how_to_go_on_is_checked(held: Held, changes: Json) -> None:
    world, calibration_id, _ = held
    await world.http.delete(f"{PATH}/{calibration_id}")

    response = await world.http.post(f"{PATH}/{calibration_id}", json=changes)

    assert (response.status_code, error_of(response)["param"]) == (400, next(iter(changes)))
    assert (await shown(world, calibration_id))["state"] == "stopped"


# --- other processes, and a store that is away


async def soon(seconds: float) -> None:
    """Wait for other tasks, whatever the seconds."""
    await asyncio.sleep(0)


async def test_another_process_shows_what_runs_and_stops_it(tmp_path: Path) -> None:
    store = FakeStore()
    async with opened(tmp_path / "one", store=store) as one, opened(tmp_path / "two", store=store) as two:
        one.parts.calibrations.sleep = soon
        two.parts.calibrations.folder = one.parts.calibrations.folder
        one.model_client.will("large", Reply(until=asyncio.Event()))
        started = await start(one, models=["small", "large"])
        await answered(two, started["id"], 1)

        again = await two.http.post(PATH, json=wanted(models=["small", "large"]))
        by_id = await two.http.post(f"{PATH}/{started['id']}", json={})
        stopping = await two.http.delete(f"{PATH}/{started['id']}")
        await one.parts.calibrations.wait()

        assert [r.status_code for r in (again, by_id, stopping)] == [409, 409, 200]
        assert stopping.json()["state"] == "running"
        assert (await shown(two, started["id"]))["state"] == "stopped"
        assert two.model_client.calls == []


async def test_the_end_is_stored_when_postgresql_is_back(held: Held) -> None:
    world, calibration_id, go_on = held
    world.parts.calibrations.sleep = soon
    [running] = world.parts.calibrations._running.values()
    running.sleep = soon
    world.store.is_down = True
    go_on.set()
    while running.is_running:  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0)

    while_away = await shown(world, calibration_id)
    world.store.is_down = False
    stored = await ended(world, calibration_id)

    assert while_away["state"] == stored["state"] == "failed"
    assert "PostgreSQL" in stored["error"] or "store" in stored["error"]


async def test_the_budget_pays_for_no_calibration(tmp_path: Path) -> None:
    async with opened(tmp_path, budget_usd_per_request="0.001") as world:
        purse = world.parts.router.pacer.purse

        started = await start(world)
        await ended(world, started["id"])

        assert world.parts.router.pacer.purse == purse


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", {"max_tokens": 9, "messages": [{"role": "user", "content": "leek soup"}]}),
        ("/v1/responses", {"input": "leek soup", "instructions": "Be brief."}),
        ("/v1/completions", {"prompt": "leek soup", "max_tokens": 9}),
        (
            "/v1beta/models/auto:generateContent",
            {
                "contents": [{"role": "user", "parts": [{"text": "leek soup"}]}],
                "generationConfig": {"topK": 3},
            },
        ),
        (
            "/v1/messages",
            {
                "max_tokens": 2000,
                "thinking": {"type": "enabled", "budget_tokens": 1024},
                "tools": [{"name": "look_up", "input_schema": {"type": "object"}}],
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}],
                    },
                    {"role": "assistant", "content": "Hello."},
                    {"role": "user", "content": "leek soup"},
                ],
            },
        ),
    ],
    ids=["messages", "responses", "completions", "gemini", "messages with thinking and tools"],
)
async def test_requests_of_every_dialect_are_asked_again(tmp_path: Path, path: str, body: Json) -> None:
    async with opened(tmp_path, store_texts=True) as world:
        first = await world.http.post(
            path, json={"model": "auto", **body} if "contents" not in body else body
        )
        assert first.status_code == 200, first.text
        await world.background.drain(5.0)
        world.clock.advance(60)
        world.model_client.will("large", Reply(("Hello.",)), Reply(("Score: 7",)))
        judge = {"grader": "judge:large", "judge_own_family": True}
        n_before = len(world.model_client.calls)

        started = await start(world, prompts=..., from_log="1h", models=["large"], **judge)
        done = await ended(world, started["id"])

        assert (done["progress"]["of"], done["rows"]) == (1, {"imported": 1})
        asked = world.model_client.calls[n_before][1]
        assert "leek soup" in str(asked["messages"])
        assert not {"model", "stream", "store"} & asked.keys()
