"""`router serve`: the first start, the next start, and the end."""

from __future__ import annotations

import signal
from collections.abc import Callable

import httpx
import pytest

from service.commands.jobs.server import GRACE_S
from tests.e2e.conftest import NewRouter
from tests.e2e.running import RunningRouter, processes_of

Serve = Callable[..., RunningRouter]


def test_the_first_start_reports_its_steps_and_the_second_builds_nothing(new_router: NewRouter) -> None:
    router = new_router()
    (router.data_dir / "encoder").unlink()  # as on a fresh clone

    router.start()
    first, answer = router.stdout, router.ask("a", "What is 2 + 2?")
    router.restart()
    second = router.stdout

    assert answer.status_code == 200
    assert answer.headers["x-router-simulated"] == "true"
    assert "preparing PostgreSQL" in first
    for text in (first, second):
        assert router.url in text
        assert "SIMULATED" in text
        assert "sim-small" in text
        assert str(router.data_dir.resolve()) in text
    assert "preparing" not in second
    assert "migrated" not in router.stderr
    assert router.get("/health")["simulated"] is True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_router_and_its_postgresql_without_output(
    serve: Serve, number: signal.Signals
) -> None:
    router = serve(log_level="warning")
    router.ask("a", "hello")

    code = router.end(number)

    assert code == 0
    assert router.stderr == ""
    assert router.postgres_pid() is None
    assert processes_of(router.folder) == []


def test_ctrl_c_waits_for_a_stream_to_end(serve: Serve) -> None:
    router = serve(log_level="warning")
    body = {
        "messages": [{"role": "user", "content": "Say a few words."}],
        "stream": True,
        "model": "sim-small",
    }
    headers = {"X-Request-ID": "stream"}

    with httpx.stream("POST", f"{router.url}/v1/chat/completions", json=body, headers=headers) as response:
        lines = response.iter_lines()
        first = next(lines)
        assert router.process is not None
        router.process.send_signal(signal.SIGINT)
        rest = list(lines)
    code = router.process.wait(GRACE_S + 5)

    assert first.startswith("data: ")
    assert rest[-2:] == ["data: [DONE]", ""]
    assert code == 0
    assert router.stderr == ""


def test_ctrl_c_twice_does_not_wait_for_a_long_stream(serve: Serve) -> None:
    router = serve(log_level="warning")
    body = {
        "messages": [{"role": "user", "content": "Say a lot. " * 400}],
        "stream": True,
        "model": "sim-large",
    }

    with httpx.stream("POST", f"{router.url}/v1/chat/completions", json=body) as response:
        next(response.iter_lines())
        assert router.process is not None
        router.process.send_signal(signal.SIGINT)
        router.process.send_signal(signal.SIGINT)
        code = router.process.wait(GRACE_S)

    assert code == 0
    assert router.postgres_pid() is None


BAD_YAML = {
    "unknown key": ("nonsense: 1", "unknown key `nonsense`"),
    "out of range": ("exploration_rate: 3", "exploration_rate"),
    "no mapping": ("[]", "must contain keys and values"),
}


@pytest.mark.parametrize("case", BAD_YAML)
def test_a_bad_configuration_file_is_reported_in_one_line(new_router: NewRouter, case: str) -> None:
    content, message = BAD_YAML[case]
    router = new_router(config_file="bad.yaml")
    (router.folder / "bad.yaml").write_text(content)

    assert message in _one_line(router)


BAD_SETTINGS = {
    "missing file": ({"CONFIG_FILE": "nowhere.yaml"}, "nowhere.yaml"),
    "not a number": ({"FEEDBACK_WEIGHT": "much"}, "FEEDBACK_WEIGHT"),
    "out of range": ({"EXPLORATION_RATE": "7"}, "EXPLORATION_RATE"),
    "open to anybody": ({"HOST": "0.0.0.0"}, "ALLOW_ANONYMOUS"),
    "no data directory": ({"DATA_DIR": "/proc/nothing"}, "DATA_DIR"),
    "no DSN": ({"DATABASE_URL": "nonsense"}, "DATABASE_URL"),
    "no port": ({"DATABASE_URL": "postgresql://user:s3cret@host:port/name"}, "DATABASE_URL"),
    "no URL": ({"QDRANT_URL": "nonsense"}, "QDRANT_URL"),
    "unknown model": ({"LLM_MODELS": "nobody"}, "nobody"),
    "unknown default": ({"DEFAULT_MODEL": "nobody"}, "nobody"),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_a_bad_setting_is_reported_in_one_line(new_router: NewRouter, case: str) -> None:
    environ, message = BAD_SETTINGS[case]

    line = _one_line(new_router(), **environ)

    assert message in line
    assert "s3cret" not in line


def test_a_data_directory_that_is_a_file_is_reported_in_one_line(new_router: NewRouter) -> None:
    router = new_router()
    (router.folder / "file").touch()

    assert "DATA_DIR" in _one_line(router, DATA_DIR=str(router.folder / "file"))


@pytest.mark.parametrize("workers", ["0", "2"])
def test_an_impossible_number_of_workers_is_reported_in_one_line(new_router: NewRouter, workers: str) -> None:
    assert "--workers" in _one_line(new_router(), "--workers", workers)


def test_a_port_in_use_is_reported_in_one_line(serve: Serve, new_router: NewRouter) -> None:
    running = serve()
    second = new_router()
    second.port = running.port

    assert f"127.0.0.1:{running.port}" in _one_line(second)


def test_a_data_directory_serves_one_service_at_a_time(serve: Serve, new_router: NewRouter) -> None:
    running = serve()

    line = _one_line(new_router(), DATA_DIR=str(running.data_dir))

    assert "another process" in line
    assert running.ask("a", "hello").status_code == 200


def _one_line(router: RunningRouter, *arguments: str, **environ: str) -> str:
    """The single line of output of a start that fails."""
    done = router.run("serve", *arguments, LOG_LEVEL="error", **environ)
    assert done.returncode == 1
    assert done.stderr.startswith("router: ")
    assert done.stderr.count("\n") == 1
    return done.stderr
