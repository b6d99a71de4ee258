"""Data of version 0.1 opens in this version: the database, the spool, the settings, the memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import numpy as np
import orjson
import pytest

from bandit.drift import ArmHistory
from bandit.raters import Raters
from service.api.records import numbers
from service.app import create_app, in_front
from service.arms.configured import choose_arms, default_arm_id
from service.arms.known_models import known_models
from service.arms.lifecycle import current_arms
from service.bootstrap.open import open_parts
from service.bootstrap.wire import knobs_of
from service.commands.jobs.reconcile import reconcile
from service.dialects.chat.requests import read_query
from service.dialects.received import Received
from service.domain.arm import ArmSums
from service.domain.basics import EXACT, Json
from service.domain.decision import Decision
from service.evaluation.candidate import CandidateConfig
from service.evaluation.evaluate import evaluate
from service.memory.points import Found, to_experience, to_neighbours
from service.parts import Parts
from service.providers.simulator.simulator import SIMULATED_ARMS
from service.settings.load import load_settings, overlaid
from service.settings.settings import Settings
from service.store.arm_registry import PostgresArmRegistry
from service.store.connection.migrate import migrate, packaged_migrations
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.evidence.histories import history_of
from service.store.evidence.rebuild import evidence_differences
from service.store.log.conversations import PostgresConversationStates
from service.store.log.journal import PostgresJournal
from service.store.log.rounds import rounds
from service.store.log.spends import newest_spends
from service.store.spool.spool import Spool
from service.store.spool.spooling_journal import SpoolingJournal
from tests.fakes import FakeModelClient, FixedClock
from tests.integration.earlier_versions.stub_upstream import stub_upstream
from tests.integration.postgres_server import Cluster

VERSION = Path(__file__).parent / "earlier_versions" / "version_0_1"
EXPECTED: Json = json.loads((VERSION / "expected.json").read_text())
LAST_MIGRATION = "0015_call_dollars"  # of that version
SINCE, UNTIL = (datetime.fromisoformat(EXPECTED[name]) for name in ("since", "until"))
TENANT = "default"

# Keys of version 0.1 and what they are called today: in values, in answers to clients, and at the top of a
# request's record.
RENAMED = {
    "opinion_weights": "expert_weights",
    "difficulty": "ease",
    "neighbour_difficulties": "neighbour_ease",
    "session": "conversation",
    "standing": "prior_state",
    "n_foreign": "n_messages_of_other_vendors",
    "held_arm_id": "previous_arm_id",
    "margin": "switch_margin",
    "cache_price": "cache_loss",
}
RENAMED_IN_ANSWERS = RENAMED | {"arm_id": "model", "held_arm_id": "previous_model"}
RENAMED_IN_RECORD = RENAMED_IN_ANSWERS | {"arm_id": "chosen_model"}
SWITCHING_COST = ("switch_margin", "cache_loss")  # one object in answers
# Beside these keys stand keys of today; that version knew the price of every model in its dump.
ADDED_BESIDE: dict[str, Json] = {
    "finish_reason": {"cost_source": "price"},  # a call
    "attempt_id": {"notes": [], "deployment": None},
    "own_weights": {
        "side_call": None,
        "substituted_model": None,
        "prior_offset": 0.0,
        "overridden_by": [],
    },  # an explanation
    "chosen_model": {"tags": [], "rule": None, "tier": None, "cached": None},  # a record
    "feedback_text": {"key_id": None, "source": None},  # a rating
    "mean_ttft_ms": {"requests_of_unknown_cost": 0},  # totals of /v1/stats
    "saved_usd": {"requests_of_unknown_cost": 0, "reason": None},
    # a model in /admin/models
    "is_newcomer": {
        "price_source": "configured",
        "set_fields": {},
        "drop": [],
        "rename": {},
        "variant_of": None,
        "prompt": None,
        "api_key": None,
        "auth": None,
    },
    "usd_per_day": {"calls_of_unknown_cost": 0},  # a model in shadow
    "n_outcomes": {"n_outcomes_of_unknown_cost": 0},  # evidence in /admin/models
}


def with_todays_keys(value: Any) -> Any:
    """An answer of version 0.1 with the keys that were added since."""
    if isinstance(value, list):
        return [with_todays_keys(one) for one in value]
    if not isinstance(value, dict):
        return value
    added = {
        key: new for beside, keys in ADDED_BESIDE.items() if beside in value for key, new in keys.items()
    }
    if "neighbours" in value:  # each of a prompt of its own
        numbered = [{**one, "prompt": number} for number, one in enumerate(value["neighbours"])]
        value = {**value, "neighbours": numbered}
    return {key: with_todays_keys(one) for key, one in value.items()} | added


def in_todays_words(value: Any, words: Mapping[str, str] = RENAMED) -> Any:
    """A value of version 0.1 under the keys of today."""
    if isinstance(value, list):
        return [in_todays_words(one, words) for one in value]
    if isinstance(value, dict):
        # Ids of requests and models are keys too; none of them is one of the words.
        return {words.get(key, key): in_todays_words(one, words) for key, one in value.items()}
    return value


def a_record_in_todays_words(record: Json) -> Json:
    shown = {
        RENAMED_IN_RECORD.get(key, key): in_todays_words(value, RENAMED_IN_ANSWERS)
        for key, value in record.items()
    }
    if shown["conversation"] is not None:
        cost = {name: shown["conversation"].pop(name) for name in SWITCHING_COST}
        shown["conversation"]["switching_cost"] = None if cost["switch_margin"] is None else cost
    return shown


def as_json(value: object) -> Any:
    """What an HTTP client reads."""
    return orjson.loads(orjson.dumps(value, default=float))


def sums_in(rows: list[Json]) -> dict[str, ArmSums]:
    return {
        row["arm_id"]: ArmSums(
            n=Decimal(row["n"]),
            reward_sum=Decimal(row["reward_sum"]),
            n_outcomes=row["n_outcomes"],
            latency_s_sum=Decimal(row["latency_s_sum"]),
            cost_usd_sum=Decimal(row["cost_usd_sum"]),
        )
        for row in rows
    }


def without_squares(sums: Mapping[str, ArmSums]) -> dict[str, ArmSums]:
    """That version had none."""
    none = Decimal(0)
    return {a: replace(s, cost_usd_squares=none, latency_s_squares=none) for a, s in sums.items()}


Squares = dict[str, tuple[Decimal, Decimal]]  # of dollars and seconds


def squares(sums: Mapping[str, ArmSums]) -> Squares:
    return {arm_id: (s.cost_usd_squares, s.latency_s_squares) for arm_id, s in sums.items()}


async def squares_of_answers(database: Database) -> Squares:
    """The squares of the logged answers, each at today's price."""
    async with database.connection() as connection:
        answers = await connection.fetch(ANSWERS)
        changes = await connection.fetch("SELECT * FROM price_changes ORDER BY version")
    found: Squares = {}
    with localcontext(EXACT):
        for answer in answers:
            usd = answer["cost_usd"]
            for change in changes:
                if change["arm_id"] == answer["arm_id"] and change["version"] > answer["price_version"]:
                    usd = usd * change["factor"] + change["added_usd"]
            of_dollars, of_seconds = found.get(answer["arm_id"], (Decimal(0), Decimal(0)))
            found[answer["arm_id"]] = of_dollars + usd**2, of_seconds + answer["latency_s"] ** 2
    return found


ANSWERS = """
SELECT o.arm_id, o.latency_s, coalesce(o.call_cost_usd, o.cost_usd) AS cost_usd, o.price_version
FROM outcomes o JOIN decisions d USING (decision_id)
WHERE d.learn AND o.status = 'ok' AND o.kind <> 'cache'
UNION ALL
SELECT arm_id, latency_s, cost_usd, price_version FROM shadow_answers WHERE status = 'ok'
"""


def conversations_in(rows: list[Json]) -> dict[str, tuple[object, ...]]:
    return {row["key"]: (row["arm_id"], row["vendor"], row["n_foreign"], row["turns"]) for row in rows}


async def conversations_of(database: Database) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for row in EXPECTED["after"]["sessions"]:
        key = bytes.fromhex(row["key"])
        states = await PostgresConversationStates(database).find(TENANT, [key], SINCE)
        if (state := states.get(key)) is not None:
            found[row["key"]] = (state.arm_id, state.vendor, state.n_messages_of_other_vendors, state.turns)
    return found


# --- the data, opened ----------------------------------------------------------------------------------


@pytest.fixture
async def dsn(embedded_cluster: Cluster) -> str:
    """A database with the dump, migrated."""
    dsn = await embedded_cluster.empty_database()
    await load_dump(dsn)
    database = Database(dsn)
    await migrate(database)
    await database.close()
    return dsn


async def load_dump(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute((VERSION / "dump.sql").read_text())
    await connection.close()


@pytest.fixture
def spool_folder(tmp_path: Path) -> Path:
    """A copy of what version 0.1 spooled while PostgreSQL was away."""
    return shutil.copytree(VERSION / "spool", tmp_path / "spool")


@pytest.fixture
async def replayed(database: Database, spool_folder: Path) -> Database:
    """The database after the spool was written into it."""
    journal = SpoolingJournal(PostgresJournal(database), Spool(spool_folder, 1_000_000))
    await journal.start()
    await journal.drain()
    await journal.close()
    return database


@pytest.fixture
def embeddings_url() -> Iterator[str]:
    with stub_upstream() as url:
        yield f"{url}/v1"


@pytest.fixture
def environ(dsn: str, spool_folder: Path, embeddings_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": dsn,
        "DATA_DIR": str(spool_folder.parent),
        "EMBEDDING_BASE_URL": embeddings_url,
    }


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """The settings file of version 0.1."""
    return load_settings(VERSION / "config.yaml", environ)


@dataclass
class Opened:
    """The whole service on the data of version 0.1, the spool included."""

    parts: Parts
    database: Database
    http: httpx.AsyncClient

    async def get(self, path: str, **params: str) -> Json:
        response = await self.http.get(path, params=params)
        assert response.status_code == 200, response.text
        found: Json = response.json()
        return found

    async def ask(self, request_id: str, body: Json) -> httpx.Response:
        path = "/v1/messages" if "max_tokens" in body else "/v1/chat/completions"
        response = await self.http.post(path, json=body, headers={"X-Request-ID": request_id})
        assert response.status_code == 200, response.text
        return response


@asynccontextmanager
async def opened(settings: Settings, environ: dict[str, str], database: Database) -> AsyncIterator[Opened]:
    async with open_parts(settings, environ, model_client=FakeModelClient(FixedClock())) as parts:
        await parts.journal.drain()
        app = in_front(create_app(settings, environ, parts), settings)
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as http:
            yield Opened(parts, database, http)


@pytest.fixture
async def service(settings: Settings, environ: dict[str, str], database: Database) -> AsyncIterator[Opened]:
    async with opened(settings, environ, database) as service:
        yield service


# --- the database --------------------------------------------------------------------------------------


async def test_the_schema_of_that_version_is_brought_up_to_date(cluster: Cluster) -> None:
    dsn = await cluster.empty_database()
    await load_dump(dsn)
    database = Database(dsn)

    applied = await migrate(database)

    names = [migration.name for migration in packaged_migrations()]
    assert applied == names[names.index(LAST_MIGRATION) + 1 :]
    assert await migrate(database) == []
    await database.close()


async def test_sums_and_histories_are_what_that_version_had(database: Database) -> None:
    evidence = PostgresEvidence(database)

    await evidence.refresh()

    before = EXPECTED["before"]
    histories = {
        row["arm_id"]: history_of(row | {"fallen_at": 0.0, "raters": "{}"}) for row in before["histories"]
    }
    assert without_squares(evidence.sums(TENANT)) == sums_in(before["sums"])
    assert without_raters(evidence.histories(TENANT)) == histories
    assert len(histories) == 3


def without_raters(histories: Mapping[str, ArmHistory]) -> dict[str, ArmHistory]:
    return {
        arm_id: replace(h, raters=Raters(), rise=replace(h.rise, shares=()), fall=replace(h.fall, shares=()))
        for arm_id, h in histories.items()
    }


async def test_squares_are_those_of_that_versions_answers(database: Database) -> None:
    evidence = PostgresEvidence(database)

    await evidence.refresh()

    found = squares(evidence.sums(TENANT))
    assert found == await squares_of_answers(database)
    assert len([usd for usd, _ in found.values() if usd > 0]) == 4


async def test_the_events_of_that_version_give_its_sums_and_histories_again(database: Database) -> None:
    assert len(await evidence_differences(database)) == 0


async def test_every_request_of_that_version_has_its_numbers(database: Database) -> None:
    journal = PostgresJournal(database)

    for request_id, expected in EXPECTED["before"]["numbers"].items():
        record = await journal.record(TENANT, request_id)
        assert record is not None
        assert as_json(numbers(record)) == in_todays_words(expected)

    assert len(EXPECTED["before"]["numbers"]) > 70


async def test_conversations_of_that_version_are_on_their_models(database: Database) -> None:
    found = await conversations_of(database)

    assert found == conversations_in(EXPECTED["before"]["sessions"])
    assert len(found) > 20


async def test_a_decision_of_that_version_is_found_with_its_conversation(database: Database) -> None:
    found = await PostgresJournal(database).find(TENANT, "support-2")

    then = EXPECTED["records"]["support-2"]
    assert found is not None
    assert found.step is not None
    assert (str(found.decision_id), found.arm_id) == (then["decision_id"], then["arm_id"])
    assert dict(found.probabilities) == {c["arm_id"]: c["probability"] for c in then["candidates"]}
    assert asdict(found.step) == in_todays_words(then["session"])


# --- the spool -----------------------------------------------------------------------------------------


async def test_the_spool_of_that_version_is_written_completely(
    replayed: Database, spool_folder: Path
) -> None:
    evidence = PostgresEvidence(replayed)
    await evidence.refresh()

    after = EXPECTED["after"]
    journal = PostgresJournal(replayed)
    found = {request_id: await journal.record(TENANT, request_id) for request_id in after["numbers"]}
    assert left_in(spool_folder) == b""  # no line waits, and none was rejected
    assert as_json({i: record and numbers(record) for i, record in found.items()}) == in_todays_words(
        after["numbers"]
    )
    assert without_squares(evidence.sums(TENANT)) == sums_in(after["sums"])
    assert squares(evidence.sums(TENANT)) == await squares_of_answers(replayed)
    assert await conversations_of(replayed) == conversations_in(after["sessions"])
    assert len(await evidence_differences(replayed)) == 0
    assert len(after["numbers"]) > len(EXPECTED["before"]["numbers"])


async def test_records_of_that_version_show_what_they_showed(replayed: Database) -> None:
    journal = PostgresJournal(replayed, store_texts=True)

    for request_id, expected in EXPECTED["records"].items():
        record = without_todays_prior_state(as_json(await journal.record(TENANT, request_id)))
        assert record == shown(with_todays_keys(a_record_in_todays_words(expected)))


# Of a candidate, in records and in spends: today's log keeps seven digits of what decides nothing.
ONLY_SHOWN = {
    *("alpha", "beta", "mean", "local_mass", "bonus", "predicted", "expected_latency_s", "expected_cost_usd"),
    *("quality", "speed", "cost", "budget", "total", "offset"),
}


def shown(value: Any, *, rounded: bool = False) -> Any:
    """The value with seven digits of the numbers that are only shown."""
    if isinstance(value, dict):
        return {key: shown(one, rounded=key in ONLY_SHOWN) for key, one in value.items()}
    if isinstance(value, list):
        return [shown(one, rounded=rounded) for one in value]
    return pytest.approx(value, rel=1e-6) if rounded and isinstance(value, float) else value


def without_todays_prior_state(record: Json) -> Json:
    """That version logged no source of a prior, and no standard errors. Lines of its spool get None and 0."""
    for candidate in record["candidates"]:
        assert candidate["prior_state"].pop("prior_source", None) is None
        for name in ("cost_usd_error", "latency_s_error"):
            assert candidate["prior_state"].pop(name, 0.0) == 0.0
    return record


def left_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


# --- what is read from the log -------------------------------------------------------------------------


async def test_the_budget_reads_what_that_version_spent(replayed: Database) -> None:
    spends = await newest_spends(replayed, 1000, 200)

    expected = in_todays_words(EXPECTED["after"]["spends"])
    assert [read_back(asdict(spend)) for spend in spends] == shown(expected)
    assert {len(spend.arms) for spend in spends} > {1, 4}  # where nothing was drawn, and where an arm was


async def test_evaluation_reads_the_rounds_of_that_version(replayed: Database) -> None:
    found = [one async for one in rounds(replayed, TENANT, SINCE, UNTIL)]

    expected = in_todays_words(EXPECTED["after"]["rounds"])
    assert [
        read_back(asdict(replace(one, explanation={})) | {"explanation": None}) for one in found
    ] == expected


async def test_evaluation_weighs_the_rounds_of_that_version_as_they_were_logged(
    replayed: Database, settings: Settings, environ: dict[str, str]
) -> None:
    candidate = await the_candidate(replayed, settings, environ)

    found = [candidate.weigh(one) async for one in rounds(replayed, TENANT, SINCE, UNTIL)]

    expected = EXPECTED["weighed"]
    assert [one.drawn for one in found] == [one["drawn"] for one in expected]
    for one, then in zip(found, expected, strict=True):
        # What the candidate would do and expect has changed since, with the priors of untried models.
        np.testing.assert_allclose(one.logged, then["arrays"][0], rtol=1e-9, atol=1e-12)
        assert one.target.shape == np.shape(then["arrays"][1])
    evaluation = await evaluate(rounds(replayed, TENANT, SINCE, UNTIL), candidate, SINCE, UNTIL)
    assert (evaluation.n_rounds, evaluation.n_incomplete, dict(evaluation.unseen)) == tuple(
        EXPECTED["evaluation"][name] for name in ("n_rounds", "n_incomplete", "unseen")
    )


async def the_candidate(database: Database, settings: Settings, environ: dict[str, str]) -> CandidateConfig:
    """As `router evaluate` makes it from the settings of version 0.1."""
    wanted = overlaid(settings, VERSION / "candidate.yaml")
    registry = PostgresArmRegistry(database)
    await registry.refresh()
    known = registry.known
    arms = current_arms(choose_arms(wanted, environ, known_models(), SIMULATED_ARMS).arms, known)
    return CandidateConfig(
        knobs=knobs_of(wanted),
        arms=tuple(arm for arm in arms if arm.arm_id not in known or known[arm.arm_id].state == "active"),
        default_arm_id=default_arm_id(wanted, arms),
        priced={arm.arm_id: arm for arm in arms},
        newcomers=frozenset(arm_id for arm_id, one in known.items() if one.is_newcomer),
        added=frozenset(arm_id for arm_id, one in known.items() if one.entry is not None),
        holdout_share=wanted.holdout_share,
    )


def read_back(value: object) -> Any:
    """As the expected values were written."""
    return json.loads(json.dumps(value, default=str))


# --- the service ---------------------------------------------------------------------------------------


async def test_the_service_shows_the_traffic_and_the_models_of_that_version(service: Opened) -> None:
    stats = await service.get("/v1/stats", since=EXPECTED["since"], until=EXPECTED["until"])
    models = await service.get("/admin/models")
    record = without_todays_prior_state(await service.get("/requests/away-support"))

    projected = stats["savings"].pop("projected")  # added since
    assert projected["against_baseline"]["requests"] == 44
    assert stats == with_todays_keys(in_todays_words(EXPECTED["after"]["stats"]))
    assert [model["id"] for model in models["data"] if model.pop("prior") is None] == [
        "sim-code",
        "sim-writer",
    ]
    assert models["data"] == with_todays_keys(in_todays_words(EXPECTED["models"]))
    assert record == shown(with_todays_keys(a_record_in_todays_words(EXPECTED["records"]["away-support"])))


@pytest.mark.parametrize("request_id", ["support-2", "away-1", "claude-2"])
async def test_a_retry_of_a_request_of_that_version_finds_its_decision(
    service: Opened, request_id: str
) -> None:
    before = await service.get(f"/requests/{request_id}")

    response = await service.ask(request_id, EXPECTED["bodies"][request_id])

    after = await service.get(f"/requests/{request_id}")
    assert response.headers["X-Router-Decision-Id"] == EXPECTED["records"][request_id]["decision_id"]
    assert len(after["attempts"]) == len(before["attempts"]) + 1


async def test_a_tool_loop_of_that_version_goes_on_with_its_model(service: Opened) -> None:
    go_back_to_that_time(service.parts)
    body = EXPECTED["bodies"]["tools-2"]

    response = await service.ask("tools-3", body | {"temperature": 0.5})

    assert response.headers["X-Router-Model"] == "stub-chat"
    assert response.headers["X-Router-Decision"] == "sticky"


async def test_a_conversation_of_that_version_knows_the_model_it_is_on(service: Opened) -> None:
    go_back_to_that_time(service.parts)
    asked = EXPECTED["bodies"]["support-2"]
    body = asked | {
        "messages": [*asked["messages"], {"role": "assistant", "content": "So."}, a_user_message("And?")]
    }
    left = EXPECTED["records"]["away-support"]  # its last request

    await service.ask("support-6", body)

    step = (await service.get("/requests/support-6"))["conversation"]
    assert step["turn"] == left["session"]["turn"] + 1
    assert step["previous_model"] == left["model"]


async def test_the_memory_is_rebuilt_and_gives_the_ratings_of_that_version(
    service: Opened, settings: Settings
) -> None:
    parts, then = service.parts, EXPECTED["preview"]
    memory_of = (service.database, parts.memory, parts.encoder.name, settings.memory_points_per_arm)

    await reconcile(*memory_of, check_only=False)

    rebuilt = await reconcile(*memory_of, check_only=True)
    assert rebuilt.is_clean
    assert f"{rebuilt.n_experiences} rated decisions" in EXPECTED["rebuild"]
    previewed = await preview(parts, then["prompt"], datetime.fromisoformat(then["at"]))
    assert previewed.n_rated == then["n_rated"]
    # The posteriors themselves have changed since, with the priors of untried models.
    assert {c.arm_id: c.prior_state.reward_sum for c in previewed.candidates} == {
        c["arm_id"]: pytest.approx(c["standing"]["reward_sum"], rel=1e-4) for c in then["candidates"]
    }


async def preview(parts: Parts, prompt: str, moment: datetime) -> Decision:
    """What is decided at a moment, once ease is fitted, which the first preview begins in the background."""
    router = replace(parts.router, clock=lambda: moment)
    background = parts.completion.background
    body = orjson.dumps({"messages": [a_user_message(prompt)]})
    query = read_query(
        body,
        Received(
            headers={},
            tenant=TENANT,
            request_id=str(uuid4()),
            request_id_given=False,
            received_at=moment,
        ),
    )
    await router.preview(query)
    await background.drain(60.0)
    return await router.preview(query)


def go_back_to_that_time(parts: Parts) -> None:
    """Let it be the time when version 0.1 ended: later, its conversations are over."""
    parts.router.affinity.clock = lambda: UNTIL


def a_user_message(text: str) -> Json:
    return {"role": "user", "content": text}


# --- the memory ----------------------------------------------------------------------------------------


def test_a_point_that_version_remembered_comes_back() -> None:
    decision_id, vector = uuid4(), np.array([0.6, 0.8], dtype=np.float32)
    payload = {
        "tenant": "default",
        "arm_id": "sim-small",
        "decided_at": 1_796_032_725_060_336,
        "task": "triage/v2",
        "request_id": "r1",
        "reward": "0.9",
        "weight": "0.333333",
        "latency_s": "0.25",
        "cost_usd": "1.5e-05",
    }

    experience = to_experience(decision_id, payload, vector, encoder="http-words-2")
    [neighbour] = to_neighbours([Found(decision_id, payload, 0.5)], now=experience.decided_at)

    assert (experience.tenant, experience.arm_id, experience.task) == ("default", "sim-small", "triage/v2")
    assert experience.decided_at.isoformat() == "2026-11-30T09:58:45.060336+00:00"
    assert (experience.reward, experience.weight, experience.cost_usd) == (0.9, 0.333333, 1.5e-05)
    assert (neighbour.request_id, neighbour.arm_id, neighbour.reward) == ("r1", "sim-small", 0.9)
