"""Write the data of one version: a dump, a spool, and what that version reads in them.

Run with the code of the version whose data is wanted; README.md beside the data shows the commands.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from stub_upstream import stub_upstream  # type: ignore[import-not-found]  # beside this script

from tests.integration.postgres_server import DEFAULT_BIN, PostgresServer, running_server

STUB_PORT = 21719  # as in config.yaml
PATIENCE_S = 60.0
HURRY = {"stop": ["."]}  # simulated answers end at their first sentence
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
PREVIEW = "What is the capital of a country with a famous river?"
# Requests whose whole record is kept: one of each form.
SHOWN = (
    "free-1", "free-2", "weighted", "tagged", "streamed", "left", "pinned", "cached", "failed", "excluded",
    "support-2", "tools-2", "switch-2", "moved-2", "claude-2", "short", "refusal", "reasked-1", "unlearned",
    "escalated", "textless", "housekeeping", "imported-1", "no-memory", "away-1", "away-support",
    "away-moved",
)  # fmt: skip
RETRIED = (
    "free-1",
    "support-2",
    "moved-2",
    "away-1",
    "claude-2",
    "tools-2",
)  # requests whose bodies are kept


@dataclass
class Service:
    """`router` with the settings of one run."""

    environ: dict[str, str]
    log: Path
    sent: dict[str, Any]  # bodies by request id

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environ['PORT']}"

    @contextmanager
    def running(self) -> Iterator[Service]:
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "service.cli", "serve"],
                env=self.environ,
                stdout=output,
                stderr=output,
            )
        try:
            until(lambda: httpx.get(f"{self.url}/ready").status_code == 200)
            yield self
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)

    def run(self, *arguments: str) -> str:
        """Another command of `router`; what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "service.cli", *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 3), done.stderr
        return done.stdout

    def get(self, path: str, **params: str) -> Any:
        return httpx.get(self.url + path, params=params, timeout=PATIENCE_S).raise_for_status().json()

    def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(self.url + path, json=body, headers=named, timeout=PATIENCE_S)

    def chat(self, request_id: str, said: str | list[Any], **more: Any) -> httpx.Response:
        messages = [*said] if isinstance(said, list) else [user(said)]
        body = {"messages": messages, **HURRY, **more}
        self.sent[request_id] = body
        return self.post("/v1/chat/completions", body, X_Request_ID=request_id)

    def claude(self, request_id: str, messages: list[Any], **more: Any) -> httpx.Response:
        body = {"model": "auto", "max_tokens": 600, "messages": [*messages], **more}
        self.sent[request_id] = body
        return self.post("/v1/messages", body, X_Request_ID=request_id, anthropic_version="2023-06-01")

    def rate(self, request_id: str, score: float, **more: Any) -> None:
        self.post("/feedback", {"request_id": request_id, "score": score, **more}).raise_for_status()


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if is_so():
                return
        time.sleep(0.1)
    raise TimeoutError("it did not come true")


# --- traffic -------------------------------------------------------------------------------------------


def manage_models(service: Service) -> None:
    """Add, shadow, re-price, drain and retire."""
    stub = f"http://127.0.0.1:{STUB_PORT}/v1"
    models = [
        {"id": "stub-chat", "provider": "openai", "model": "stub", "base_url": stub, "aliases": ["stub"]}
        | {"price": {"input": 0.2, "output": 0.8}, "capabilities": ["tools", "json_schema"]},
        {"id": "sim-code", "provider": "simulator", "model": "sim-code", "reason": "try it unseen"}
        | {"price": {"input": 0.3, "output": 1.2}, "shadow": {"share": 1, "usd_per_day": 5}},
        {"id": "sim-writer", "provider": "simulator", "model": "sim-writer"},
        {"id": "sim-math", "provider": "simulator", "model": "sim-math"},
    ]
    for model in models:
        service.post("/admin/models", model).raise_for_status()
    service.chat("newcomer", "Write a short poem", router={"models": ["sim-writer"]}).raise_for_status()
    for change in ({"state": "draining", "reason": "too slow"}, {"state": "draining"}):
        httpx.patch(f"{service.url}/admin/models/sim-math", json=change).raise_for_status()
    httpx.delete(f"{service.url}/admin/models/sim-writer").raise_for_status()


def reprice(service: Service) -> None:
    prices = {
        "sim-large": {"input": 2, "output": 10, "cached_input": 0.2},
        "sim-code": {"input": 0, "output": 0},
    }
    for name, price in prices.items():
        httpx.patch(f"{service.url}/admin/models/{name}", json={"price": price}).raise_for_status()


def plain_requests(service: Service) -> None:
    service.chat("free-1", "When was the famous river discovered?").raise_for_status()
    service.rate("free-1", 0.9, feedback_text="good \N{WHITE SMILING FACE}")
    service.chat("free-2", "What is the capital of that country?")
    service.chat("weighted", "Calculate 12 * 17", router={"weights": {"feedback": 2, "cost": -0.1}})
    service.chat("tagged", "Sort a list in python", router={"task": "triage/v2", "max_cost_usd": 0.05})
    service.chat("explained", "Define algebra", router={"explain": True, "require_data_use": ["no_training"]})
    service.chat("streamed", "Who invented the fraction?", stream=True).raise_for_status()
    left(service, "left", "Tell a long story about a river")
    service.chat("pinned", "What is a matrix?", model="small")
    for request_id in ("first", "cached"):
        service.chat(request_id, "Is zero even?", router={"models": ["sim-small"]})
    service.chat("failed", "Please [error]", model="stub-chat")
    service.chat("failed", "Please [error]", model="stub-chat")  # retried by its client
    service.chat(
        "excluded", "No [error]", router={"models": ["stub-chat", "small"], "exclude": ["sim-small"]}
    )
    service.chat("fell-back", "Please stream", stream=True, router={"models": ["stub-chat", "sim-small"]})
    service.chat("unlearned", "Not for learning", router={"learn": False})
    service.rate("unlearned", 0.5)
    probe = [
        {"role": "system", "content": "You are a title generator. You output only a title"},
        user("Hello"),
    ]
    service.chat("housekeeping", probe, max_tokens=100)


def left(service: Service, request_id: str, text: str) -> None:
    """A stream whose client hangs up."""
    body = {"messages": [user(text)], "stream": True, "router": {"models": ["sim-large"]}}
    with httpx.stream(
        "POST",
        f"{service.url}/v1/chat/completions",
        json=body,
        headers={"X-Request-ID": request_id},
        timeout=PATIENCE_S,
    ) as answer:
        next(answer.iter_lines())
    until(lambda: service.get(f"/requests/{request_id}")["outcome"] is not None)


def conversations(service: Service) -> None:
    said = [user("How do I write a loop?")]
    for turn in (1, 2, 3):
        answer = service.chat(f"support-{turn}", said, router={"session_id": "support"}).raise_for_status()
        said += [
            assistant(answer.json()["choices"][0]["message"]["content"]),
            user(f"And then, step {turn}?"),
        ]
    service.post("/feedback", {"session_id": "support", "score": 0.7, "feedback_text": "solved"})
    service.rate("support-2", 0.2)

    asked = [user("How is the weather? [tools]")]
    only = {"models": ["stub-chat"]}
    service.chat("tools-1", asked, tools=TOOLS, router=only | {"session_id": "tools"})
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    asked += [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    service.chat("tools-2", asked, tools=TOOLS, router={"session_id": "tools"})

    said = [user("Two and two?")]
    service.chat("switch-1", said, router={"session_id": "switch", "models": ["sim-large"]})
    said += [assistant("Four."), user("And three?")]
    service.chat("switch-2", said, router={"session_id": "switch", "exclude": ["sim-large"]})

    said = [user("Count to three")]
    service.chat("moved-1", said, router={"session_id": "moved", "models": ["stub-chat"]})
    said += [assistant("One."), user("Go on [error]")]
    service.chat("moved-2", said, router={"session_id": "moved", "models": ["stub-chat", "sim-small"]})

    claude: dict[str, Any] = {"router": {"models": ["claude-stub"]}, "metadata": {"user_id": "u-1"}}
    said = [user("What is two and two?")]
    answer = service.claude("claude-1", said, system="You are brief.", **claude)
    said += [{"role": "assistant", "content": answer.json()["content"]}, user("And three and three?")]
    service.claude("claude-2", said, system="You are brief.", **claude)
    service.claude("claude-stream", [user("A poem, please")], stream=True, stop_sequences=["."])


def signals(service: Service) -> None:
    only = {"models": ["stub-chat"]}
    for kind in ("empty", "refusal", "truncated"):
        service.chat(kind, f"An answer that is [{kind}]", router=only)
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
    service.chat("schema", "A number as JSON", response_format=form, router=only)
    for request_id in ("reasked-1", "reasked-2"):
        body: dict[str, Any] = {"router": {"session_id": "reask"}, "temperature": int(request_id[-1]) / 2}
        service.chat(request_id, "Prove the theorem about triangles", **body)


def feedback(service: Service) -> None:
    several = [
        {"request_id": "weighted", "score": 0.4},
        {"request_id": "tagged", "verdict": "good"},
        {"request_id": "nobody", "score": 1},
        {"session_id": "switch", "verdict": "bad"},
    ]
    service.post("/feedback", several).raise_for_status()
    service.rate("free-2", 0.3)
    service.rate("free-2", 0.8, feedback_text="revised")
    service.rate("free-2", 0.8, feedback_text="revised")
    service.rate("streamed", 1.0)
    httpx.delete(f"{service.url}/feedback/streamed").raise_for_status()
    service.rate("empty", 0.1)
    service.post("/feedback", {"session_id": "tools", "score": 1}).raise_for_status()
    httpx.delete(f"{service.url}/feedback", params={"session_id": "tools"}).raise_for_status()
    service.rate("fell-back", 0.6)


def rows_to_import(path: Path) -> None:
    prompts = (
        "code this",
        "solve the equation",
        "write a poem",
        "name the capital",
        "debug it",
        "define a word",
    )
    models = {"sim-small": 0.45, "sim-large": 0.85}
    rows = [
        {
            "prompt": f"{prompt} number {i}",
            "model": model,
            "score": min(1.0, quality + 0.03 * i - 0.02 * len(prompt) % 0.1),
            "request_id": f"imported-{n}",
            "at": f"2026-10-0{1 + i}T10:0{n % 10}:00Z",
        }
        | ({} if n % 3 else {"cost_usd": 0.0004, "latency_s": 0.8, "propensity": 0.5})
        for n, (i, prompt, (model, quality)) in enumerate(
            ((i, p, m) for i in range(3) for p in prompts for m in models.items()), 1
        )
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def later_requests(service: Service) -> None:
    """With escalation, and texts that are not stored."""
    said = [user("Begin")]
    service.chat("escalated-1", said, router={"session_id": "escalated", "models": ["stub-chat"]})
    said += [assistant("Begun."), user("An answer that is [empty]")]
    service.chat("escalated", said, router={"session_id": "escalated", "models": ["stub-chat", "sim-large"]})
    service.chat("textless", "What happened in that century?")
    service.rate("textless", 0.75)
    service.chat("short", "Sum of 2 + 2", max_tokens=1)
    said = [user("How do I write a loop?"), assistant("Like this."), user("And backwards?")]
    service.chat("support-4", said, router={"session_id": "support"})


def requests_without_postgres(service: Service) -> None:
    service.chat("away-1", "What is the population of that country?").raise_for_status()
    service.chat("away-2", "Who was the president?", stream=True).raise_for_status()
    service.chat(
        "away-tagged", "Calculate an integral", router={"task": "triage/v2", "weights": {"latency": 0}}
    )
    said = [user("How do I write a loop?"), assistant("Like this."), user("And without one?")]
    service.chat("away-support", said, router={"session_id": "support"}).raise_for_status()
    said = [user("Count to ten")]
    service.chat("away-begun", said, router={"session_id": "away", "models": ["stub-chat"]})
    said += [assistant("One."), user("Go on [error]")]
    service.chat("away-moved", said, router={"session_id": "away", "models": ["stub-chat", "sim-small"]})
    service.chat("away-failed", "Please [error]", model="stub-chat")
    service.chat("free-2", "What is the capital of that country?").raise_for_status()  # was answered before
    service.claude("away-claude", [user("What is three and three?")], router={"models": ["claude-stub"]})


# --- what is kept --------------------------------------------------------------------------------------

TABLES = {
    "sums": "SELECT * FROM evidence ORDER BY tenant, arm_id",
    "histories": "SELECT * FROM histories ORDER BY tenant, arm_id",
    "sessions": """
        SELECT encode(key, 'hex') AS key, arm_id, vendor, n_foreign, turns FROM sessions ORDER BY key
    """,
    "ids": "SELECT request_id FROM decisions ORDER BY request_id",
    "held_out": "SELECT request_id FROM decisions WHERE holdout ORDER BY decided_at LIMIT 1",
    "queued": "SELECT count(*)::int AS n FROM memory_queue",
}


async def tables(dsn: str) -> dict[str, Any]:
    connection = await asyncpg.connect(dsn)
    try:
        found = {name: [dict(row) for row in await connection.fetch(sql)] for name, sql in TABLES.items()}
    finally:
        await connection.close()
    for row in (*found["sums"], *found["histories"]):
        del row["changed_in"], row["version"]
    return found


def answers(service: Service, dsn: str, since: str, moment: str) -> dict[str, Any]:
    """What the running service reads in its data."""
    ids = [row["request_id"] for row in asyncio.run(tables(dsn))["ids"]]
    return {
        "numbers": {request_id: service.get(f"/metrics/{request_id}") for request_id in ids},
        "stats": service.get("/v1/stats", since=since, until=moment),
    }


async def rounds_and_spends(dsn: str, since: str, moment: str) -> dict[str, Any]:
    """What evaluation and budget read, by the functions of that version."""
    modules = ("service.store.pool", "service.store.rounds", "service.store.spends")
    pool, rounds, spends = map(importlib.import_module, modules)
    database = pool.Database(dsn)
    times = datetime.fromisoformat(since), datetime.fromisoformat(moment)
    try:
        return {
            "rounds": [
                asdict(one) | {"explanation": None}
                async for one in rounds.rounds(database, "default", *times)
            ],
            "spends": [asdict(one) for one in await spends.newest_spends(database, "default", 1000, 200)],
        }
    finally:
        await database.close()


async def weighed(service: Service, candidate: Path, since: str, moment: str) -> list[dict[str, Any]]:
    """How an evaluation decides each round again, by the functions of that version."""
    modules: tuple[Any, ...] = tuple(
        map(importlib.import_module, ("service.settings", "service.maintenance"))
    )
    settings, maintenance = modules
    found: list[dict[str, Any]] = []

    async def weigh_all(rounds: Any, wanted: Any, *_: object) -> None:
        async for one in rounds:
            again = wanted.weigh(one)
            arrays = (again.logged, again.target, again.foretold)
            found.append({"drawn": again.drawn, "arrays": [array.tolist() for array in arrays]})

    maintenance.evaluate = weigh_all
    running = settings.load_settings(Path(service.environ["CONFIG_FILE"]), service.environ)
    await maintenance.evaluate_log(
        running,
        settings.overlaid(running, candidate),
        service.environ,
        tenant="default",
        since=datetime.fromisoformat(since),
        until=datetime.fromisoformat(moment),
    )
    return found


def preview(service: Service) -> dict[str, Any]:
    """What it would decide, once difficulty is fitted."""
    body = {"messages": [user(PREVIEW)]}
    # A fit is made in the background.
    until(lambda: service.post("/v1/route", body).json()["difficulty"] != 0)
    at = datetime.now(UTC).isoformat()
    decided = service.post("/v1/route", body).raise_for_status().json()
    kept = ("candidates", "neighbours", "n_rated", "opinion_weights", "difficulty", "neighbour_difficulties")
    return {"prompt": PREVIEW, "at": at} | {name: decided[name] for name in kept}


def dump(dsn: str, path: Path) -> None:
    host = dsn.rpartition("host=")[2]
    options = ["--inserts", "--no-owner", "--no-privileges", "-U", "postgres", "-h", host, "postgres"]
    said = subprocess.run(
        [DEFAULT_BIN / "pg_dump", *options], capture_output=True, text=True, check=True
    ).stdout
    # `\restrict` is for psql, and comments say nothing.
    kept = [line for line in said.splitlines() if line.strip() and not line.startswith(("--", "\\"))]
    path.write_text("\n".join(kept) + "\n")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make(server: PostgresServer, folder: Path, out: Path) -> None:
    sent: dict[str, Any] = {}

    def service(name: str = "data", **environ: str) -> Service:
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH")}
        settings = {
            "CONFIG_FILE": str(out / "config.yaml"),
            "DATABASE_URL": server.dsn,
            "DATA_DIR": str(folder / name),
            "PORT": str(free_port()),
            "LOG_LEVEL": "warning",
        }
        return Service(kept | settings | environ, folder / "log", sent)

    since = datetime.now(UTC).isoformat()
    service().run("migrate")
    rows_to_import(folder / "rows.jsonl")
    service().run("import", str(folder / "rows.jsonl"))
    with service(STORE_TEXTS="true").running() as first:
        manage_models(first)
        for traffic in (plain_requests, conversations, signals, feedback):
            traffic(first)
        reprice(first)
    with service(ESCALATION="true").running() as second:
        later_requests(second)
        server.kill()
        requests_without_postgres(second)
    shutil.rmtree(out / "spool", ignore_errors=True)
    shutil.copytree(folder / "data" / "spool", out / "spool")
    server.start()
    with service("elsewhere", QDRANT_URL="http://127.0.0.1:9").running() as third:
        third.chat("no-memory", "What is the meaning of that war?").raise_for_status()
        third.rate("no-memory", 0.35)
        until(lambda: httpx.get(f"{third.url}/requests/no-memory").json()["outcome"] is not None)
        moment = datetime.now(UTC).isoformat()
        before = answers(third, server.dsn, since, moment)
    # When the service has ended: it waits for answers in shadow.
    before |= asyncio.run(tables(server.dsn))
    dump(server.dsn, out / "dump.sql")
    with service().running() as last:
        until(lambda: asyncio.run(tables(server.dsn))["queued"] == [{"n": 0}])
        until(lambda: httpx.get(f"{last.url}/requests/away-claude").status_code == 200)
        after = answers(last, server.dsn, since, moment)
        held_out = [row["request_id"] for row in before["held_out"]]
        records = {request_id: last.get(f"/requests/{request_id}") for request_id in (*SHOWN, *held_out)}
        models = last.get("/admin/models")["data"]
        previewed = preview(last)
    after |= asyncio.run(tables(server.dsn))
    times = ["--since", since, "--until", moment]
    expected = {
        "since": since,
        "until": moment,
        "before": before,
        "after": after | asyncio.run(rounds_and_spends(server.dsn, since, moment)),
        "records": records,
        "models": models,
        "bodies": {request_id: sent[request_id] for request_id in RETRIED},
        "preview": previewed,
        "rebuild": service().run("rebuild", "--check"),
        "evaluation": json.loads(
            service().run("evaluate", "--config", str(out / "candidate.yaml"), *times, "--json")
        ),
        "weighed": asyncio.run(weighed(service(), out / "candidate.yaml", since, moment)),
    }
    (out / "expected.json").write_text(in_lines(expected, 3) + "\n")


def in_lines(value: Any, depth: int) -> str:
    """JSON with a line for each entry down to a depth."""
    if depth == 0 or not value or not isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True, default=str)
    if isinstance(value, list):
        return "[\n" + ",\n".join(in_lines(one, depth - 1) for one in value) + "\n]"
    entries = (f"{json.dumps(name)}: {in_lines(value[name], depth - 1)}" for name in sorted(value))
    return "{\n" + ",\n".join(entries) + "\n}"


def main(out: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="router-dump-"))
    with running_server(DEFAULT_BIN) as server, stub_upstream(STUB_PORT):
        make(server, folder, out)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
