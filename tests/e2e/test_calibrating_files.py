"""`router calibrate` on files of prompts, from the command to a router that knows the scores."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.conftest import NewRouter
from tests.e2e.running import RunningRouter, eventually, processes_of

ANSWERS = {"right": "It is 42.", "wrong": "It is 41.", "claude-judge": "Fine.\nScore: 5"}
USAGE = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
N_PROMPTS = 20


class Provider(ThreadingHTTPServer):
    """A provider that counts its calls, and keeps them waiting while its gate is closed."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.calls: Counter[tuple[str, str]] = Counter()  # by model and prompt
        self.gate = threading.Event()
        self.gate.set()
        self.closes_after: int | None = None  # calls
        self.lock = threading.Lock()
        self.n_under_way = 0

    def answer(self, body: dict[str, object]) -> dict[str, object]:
        model = str(body["model"])
        with self.lock:
            self.calls[model, json.dumps(body["messages"])] += 1
            self.n_under_way += 1
            if self.closes_after is not None and self.calls.total() > self.closes_after:
                self.gate.clear()
        self.gate.wait(120)
        with self.lock:
            self.n_under_way -= 1
        message = {"role": "assistant", "content": ANSWERS[model]}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        frame = {"id": "c", "object": "chat.completion", "created": 1, "model": model}
        return {**frame, "choices": [choice], "usage": USAGE}


class Answers(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(self.server.answer(asked)).encode()
        try:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # the caller was killed
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def providing() -> Iterator[Provider]:
    with Provider() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def provider() -> Iterator[Provider]:
    with providing() as provider:
        yield provider


@pytest.fixture
def router(new_router: NewRouter, provider: Provider) -> RunningRouter:
    """A router with the provider's models, which is not running."""
    router = new_router(config_file="config.yaml", price_lists="false")
    model = (
        "  - {{id: {0}, model: {0}, provider: openai, base_url: '{1}', price: {{input: 1, output: 10}}}}\n"
    )
    url = f"http://127.0.0.1:{provider.server_port}/v1"
    models = "".join(model.format(name, url) for name in ("right", "wrong"))
    (router.folder / "config.yaml").write_text(f"models:\n{models}")
    return router


def prompts(router: RunningRouter, n: int = N_PROMPTS) -> Path:
    path = router.folder / "prompts.jsonl"
    lines = [{"prompt": f"What is {i} + {42 - i}?", "expected": "42", "task": "sums"} for i in range(n)]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def command(path: Path, *more: str) -> tuple[str, ...]:
    return ("calibrate", str(path), "--grader", "contains", "--max-usd", "1", *more)


def test_scores_are_known_from_the_next_start(router: RunningRouter, provider: Provider) -> None:
    path = prompts(router)

    first = router.run(*command(path))
    again = router.run(*command(path))
    router.start()
    eventually(lambda: router.get("/health")["dependencies"]["qdrant"]["points"] == 2 * N_PROMPTS)
    candidates = {c["model"]: c for c in router.route("What is 20 + 22?")["candidates"]}

    assert first.returncode == again.returncode == 0, first.stderr
    assert f"{2 * N_PROMPTS} rows imported" in first.stdout
    assert f"{2 * N_PROMPTS} rows already imported" in again.stdout
    assert set(provider.calls.values()) == {1}
    assert candidates["right"]["posterior"]["n_rated"] == N_PROMPTS
    assert candidates["right"]["posterior"]["mean"] > 0.8 > 0.2 > candidates["wrong"]["posterior"]["mean"]


def test_a_killed_run_goes_on_without_paying_twice(router: RunningRouter, provider: Provider) -> None:
    path = prompts(router)
    journal = path.with_name(f"{path.name}.journal")
    provider.closes_after = 15
    process = subprocess.Popen(
        router._command(*command(path, "--no-import")),
        cwd=router.folder,
        env=router._environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: provider.n_under_way == 4 and journal.read_bytes().count(b'"ended"') == 15)

    process.kill()
    process.wait()
    n_paid = provider.calls.total()
    provider.closes_after = None
    provider.gate.set()
    with journal.open("ab") as torn:
        torn.write(b'{"ended": "half a li')
    resumed = router.run(*command(path, "--no-import", "--json"))

    assert resumed.returncode == 0, resumed.stderr
    assert len(json.loads(resumed.stdout)["answers"]) == 2 * N_PROMPTS
    assert n_paid == 15 + 4
    assert provider.calls.total() == 2 * N_PROMPTS + 4  # those that were under way are asked again
    assert max(provider.calls.values()) == 2


def test_an_interrupted_run_says_how_it_goes_on(router: RunningRouter, provider: Provider) -> None:
    provider.gate.clear()
    process = subprocess.Popen(
        router._command(*command(prompts(router), "--no-import")),
        cwd=router.folder,
        env=router._environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    eventually(lambda: provider.n_under_way == 4)

    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()

    provider.gate.set()
    assert (process.returncode, stdout) == (130, "")
    assert stderr == "router: interrupted; the same command goes on and pays for no answer twice\n"


def test_calls_of_a_killed_run_count_for_the_cap(router: RunningRouter, provider: Provider) -> None:
    """Each answer may cost 0.0106 at worst, and four were under way."""
    path = prompts(router)
    journal = path.with_name(f"{path.name}.journal")
    capped = ("calibrate", str(path), "--grader", "contains", "--no-import", "--max-answer-tokens", "1000")
    provider.gate.clear()
    process = subprocess.Popen(
        router._command(*capped, "--max-usd", "0.045"),
        cwd=router.folder,
        env=router._environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: provider.n_under_way == 4)

    process.kill()
    process.wait()
    provider.gate.set()
    assert journal.read_bytes().count(b'"started"') == 4
    resumed = router.run(*capped, "--max-usd", "0.045", "--json")
    raised = router.run(*capped, "--max-usd", "1", "--json")

    assert (resumed.returncode, raised.returncode) == (1, 0)
    assert [json.loads(run.stdout)["is_capped"] for run in (resumed, raised)] == [True, False]
    problems = {answer["problem"] for answer in json.loads(resumed.stdout)["answers"]}
    assert problems == {"not asked: the cap leaves too little for the answer at its worst price"}
    assert provider.calls.total() == 4 + 2 * N_PROMPTS
    assert {answer["problem"] for answer in json.loads(raised.stdout)["answers"]} == {None}


def test_a_dry_run_estimates_and_creates_nothing(router: RunningRouter, provider: Provider) -> None:
    path = prompts(router)
    before = sorted(router.folder.rglob("*"))

    tried = router.run("calibrate", str(path), "--grader", "contains", "--dry-run", "--json")
    shown = router.run("calibrate", str(path), "--grader", "contains", "--dry-run")

    estimates = json.loads(tried.stdout)
    assert [(e["model"], e["n_calls"], e["n_known"]) for e in estimates] == [
        ("right", 20, 0),
        ("wrong", 20, 0),
    ]
    assert 0 < estimates[0]["expected_usd"] < estimates[0]["worst_usd"]
    assert "expected to cost $" in shown.stdout
    assert provider.calls.total() == 0
    assert sorted(router.folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--grader", "perfect"), "grader: must be one of exact, contains, "),
        (("--grader", "exact", "--models", "right,nobody"), "model 'nobody' does not exist"),
        (("--grader", "judge:nobody"), "model 'nobody' does not exist"),
        (("--grader", "unit-tests"), "line 1: tests: is required by the grader unit-tests"),
        (("--grader", "numeric"), "line 1: expected: must be a number"),
        (("--grader", "python:nothing:grade"), "grader: python:nothing:grade cannot be imported"),
    ],
)
def test_a_fault_is_reported_before_anything_is_spent(
    router: RunningRouter, provider: Provider, arguments: tuple[str, ...], error: str
) -> None:
    path = router.folder / "prompts.jsonl"
    path.write_text('{"prompt": "Who?", "expected": "Nobody"}')

    done = router.run("calibrate", str(path), "--max-usd", "1", "--no-import", *arguments)

    assert done.returncode == 1
    assert error in done.stderr
    assert done.stderr.startswith("router: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert provider.calls.total() == 0


def test_a_folder_is_no_file_of_prompts(router: RunningRouter) -> None:
    for folder in ("/", ".", ".."):
        done = router.run("calibrate", folder, "--max-usd", "1", "--no-import", "--grader", "exact")

        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"router: {folder}: cannot be read: Is a directory\n"


def test_a_run_needs_a_cap(router: RunningRouter, provider: Provider) -> None:
    path = str(prompts(router))

    missing = router.run("calibrate", path, "--grader", "exact")
    negative = router.run("calibrate", path, "--grader", "exact", "--max-usd", "-1")
    words = router.run("calibrate", path, "--grader", "exact", "--max-usd", "much")

    assert (missing.returncode, negative.returncode, words.returncode) == (2, 2, 2)
    assert "--max-usd is required: it bounds what the calibration may cost" in missing.stderr
    assert "must be an amount of US dollars, at least 0, got '-1'" in negative.stderr
    assert "must be an amount of US dollars, at least 0, got 'much'" in words.stderr
    assert provider.calls.total() == 0


def test_code_is_graded_by_its_tests_and_a_function_of_the_folder(
    router: RunningRouter, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ANSWERS, "right", "```python\ndef answer():\n    return 42\n```")
    monkeypatch.setitem(ANSWERS, "wrong", "```python\ndef answer():\n    return 41\n```")
    path = router.folder / "prompts.jsonl"
    path.write_text('{"prompt": "Write answer().", "tests": "assert answer() == 42"}')
    (router.folder / "own.py").write_text("def grade(answer, prompt):\n    return 'return 42' in answer\n")
    options = ("--max-usd", "1", "--no-import", "--json")

    tested = router.run("calibrate", str(path), "--grader", "unit-tests", *options)
    own = router.run("calibrate", str(path), "--grader", "python:own:grade", *options)

    assert tested.returncode == own.returncode == 0, tested.stderr + own.stderr
    for done in (tested, own):
        scores = {answer["model"]: answer["score"] for answer in json.loads(done.stdout)["answers"]}
        assert scores == {"right": 1.0, "wrong": 0.0}
    eventually(lambda: processes_of(router.folder) == [])


def test_the_report_is_printed_and_written_as_a_page_and_as_json(
    router: RunningRouter, provider: Provider
) -> None:
    page, figures = router.folder / "report.html", router.folder / "report.json"
    written = ("--report", str(page), "--report", str(figures))

    done = router.run(*command(prompts(router, n=40), "--no-import", *written))

    models = {model["model"]: model for model in json.loads(figures.read_text("utf-8"))["models"]}
    assert done.returncode == 0, done.stderr
    assert "Best quality: right, 1.000" in done.stdout
    assert (models["right"]["quality"]["value"], models["wrong"]["quality"]["value"]) == (1, 0)
    assert models["wrong"]["dominated_by"]["model"] == "right"
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert [str(file) in done.stdout for file in (page, figures)] == [True, True]


@pytest.mark.parametrize("name", ["report.pdf", "report", "nowhere/report.html", "folder.html"])
def test_a_report_that_cannot_be_written_is_refused_before_anything_is_spent(
    router: RunningRouter, provider: Provider, name: str
) -> None:
    (router.folder / "folder.html").mkdir()

    done = router.run(*command(prompts(router), "--report", str(router.folder / name)))

    assert done.returncode == 2
    assert "--report" in done.stderr
    assert provider.calls.total() == 0
