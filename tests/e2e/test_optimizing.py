"""From the log to a variant: `router optimize` beside a running router, and what becomes of its artifact."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
import pytest
import yaml

from service.domain.basics import Json
from tests.e2e.conftest import NewRouter
from tests.e2e.running import PATIENCE_S, RunningRouter
from tests.optimizer.scripted_model import ASKED, AddingModel

COMMAND = ("optimize", "--task", "sums", "--grader", "exact", "--model", "pupil", "--concurrency", "2")
QUICK = ("--candidates", "2", "--trials", "3", "--budget-usd", "1")


class Provider(ThreadingHTTPServer):
    """A provider of two models, which adds numbers; it can stop answering."""

    def __init__(self) -> None:
        self.model = AddingModel()
        self.may_answer, self.is_waiting = threading.Event(), threading.Event()
        self.may_answer.set()
        super().__init__(("127.0.0.1", 0), Answers)

    def entry(self, model: str) -> Json:
        return {
            "id": model,
            "provider": "openai",
            "base_url": f"http://127.0.0.1:{self.server_port}/v1",
            "model": model,
            "price": {"input": 1, "output": 4},
        }


class Answers(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.server.may_answer.is_set():
            self.server.is_waiting.set()
            self.server.may_answer.wait(PATIENCE_S)
        status, answer = self.server.model.reply(body)
        content = orjson.dumps(answer)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.may_answer.set()
        server.shutdown()


def configure(router: RunningRouter, entries: list[Json]) -> None:
    (router.folder / "config.yaml").write_text(yaml.safe_dump({"models": entries}))


def asked_and_rated(new_router: NewRouter, provider: Provider, n: int = 24) -> RunningRouter:
    """A router whose log has sums of a teacher, all of them rated."""
    router = new_router(
        store_texts="true", config_file="config.yaml", price_lists="false", check_keys="false"
    )
    configure(router, [provider.entry("teacher"), provider.entry("pupil")])
    router.start()
    for i in range(n):
        router.ask(f"r{i}", f"What is {i} + {2 * i}?", model="teacher", router={"task": "sums"})
        assert router.rate(f"r{i}", 1.0).status_code == 202
    return router


def test_a_prompt_is_optimised_from_the_log_and_becomes_a_variant(
    new_router: NewRouter, provider: Provider
) -> None:
    router = asked_and_rated(new_router, provider)
    done = router.run(*COMMAND, *QUICK, "--json")
    none = router.run("optimize", "--task", "poems", "--budget-usd", "1")
    policy = router.run("optimize", "policy")

    assert done.returncode == 0, done.stderr
    artifact = json.loads((router.folder / "artifact.json").read_text())
    assert artifact == json.loads(done.stdout)
    assert (artifact["better"], artifact["prompt"]["instructions"]) == (True, ASKED)
    assert artifact["scores"]["difference"]["low"] > 0
    assert artifact["provenance"]["rows"] == {"train": 7, "validation": 7, "held_out": 10}
    assert 0 < artifact["provenance"]["cost_usd"] < 0.1
    assert none.returncode == 1
    assert "task 'poems' has 0 distinct requests to optimise on, and 20 are needed" in none.stderr
    assert policy.returncode == 1
    assert "no policy can be proposed: the range has 0 decisions" in policy.stderr

    variant = {"id": "optimised", "variant_of": "pupil", "prompt": "artifact.json"}
    configure(router, [provider.entry("teacher"), provider.entry("pupil"), variant])
    router.restart()
    answer = router.ask("v", "What is 20 + 22?", model="optimised", router={"task": "sums"}).json()
    assert answer["choices"][0]["message"]["content"] == "42"


def test_ctrl_c_ends_an_optimisation_and_nothing_is_written(
    new_router: NewRouter, provider: Provider
) -> None:
    router = asked_and_rated(new_router, provider)
    provider.may_answer.clear()
    process = subprocess.Popen(
        router._command(*COMMAND, *QUICK),
        cwd=router.folder,
        env=router._environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert provider.is_waiting.wait(PATIENCE_S)
    process.send_signal(signal.SIGINT)
    provider.may_answer.set()
    output, errors = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 130, errors
    assert "router: interrupted; nothing was written" in errors
    assert "Traceback" not in errors
    assert output == ""
    assert not (router.folder / "artifact.json").exists()
