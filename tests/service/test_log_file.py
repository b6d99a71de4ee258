"""The log file: what is in it, when it rotates, and what happens if it cannot be written."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from service.errors import StartupError
from service.log_file import LogFile, SharedLogFile
from service.settings.load import load_settings
from service.telemetry import set_up_logs

ROOT = Path(__file__).parents[2]
WRITER = (
    "import sys, structlog\n"
    "from service.log_file import LogFile\n"
    "from service.telemetry import set_up_logs\n"
    "set_up_logs('info', 'json', LogFile(sys.argv[1], 2_000, 200))\n"
    "for n in range(200):\n"
    "    structlog.get_logger().info('written', n=n, by=sys.argv[2])\n"
)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Leave no log file to the next test."""
    yield
    set_up_logs("info", "json")
    structlog.reset_defaults()


def log_to(path: Path, form: str = "json", max_bytes: int = 10_000, n_older: int = 5) -> None:
    set_up_logs("info", form, LogFile(str(path), max_bytes, n_older))  # type: ignore[arg-type]


def test_events_and_warnings_of_libraries_are_lines_of_the_file_and_of_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "router.log"
    log_to(path)

    structlog.get_logger().info("answered", model="small")
    structlog.get_logger().debug("unheard")
    logging.getLogger("library").warning("old %s", "certificate")
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger().exception("failed")

    ours, library, failed = [json.loads(line) for line in path.read_text().splitlines()]
    assert (ours["event"], ours["level"], ours["model"]) == ("answered", "info", "small")
    assert (library["event"], library["level"], library["logger"]) == (
        "old certificate",
        "warning",
        "library",
    )
    assert "ValueError: broken" in failed["exception"]
    assert all(line["timestamp"].endswith("Z") for line in (ours, library, failed))
    shown = [line for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    assert [json.loads(line) for line in shown] == [ours, failed]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_file_is_text_if_the_format_is(tmp_path: Path) -> None:
    log_to(tmp_path / "router.log", "text")

    structlog.get_logger().info("answered", model="small")

    line = (tmp_path / "router.log").read_text()
    assert "answered" in line
    assert "model=small" in line
    assert "\x1b" not in line


def test_a_full_file_is_rotated_and_the_oldest_is_dropped(tmp_path: Path) -> None:
    log_to(tmp_path / "router.log", max_bytes=1_000, n_older=2)

    for n in range(100):
        structlog.get_logger().info("written", n=n)

    assert sorted(file.name for file in tmp_path.iterdir()) == ["router.log", "router.log.1", "router.log.2"]
    assert all(file.stat().st_size <= 1_000 for file in tmp_path.iterdir())
    newest = (tmp_path / "router.log").read_text().splitlines()[-1]
    assert json.loads(newest)["n"] == 99


def test_processes_that_share_a_file_lose_no_line(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "router.log"), name],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL,
        )
        for name in ("first", "second")
    ]
    assert [writer.wait() for writer in writers] == [0, 0]

    lines = [json.loads(line) for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
    assert sorted((line["by"], line["n"]) for line in lines) == [
        (name, n) for name in ("first", "second") for n in range(200)
    ]
    assert len(list(tmp_path.iterdir())) > 10


def test_a_process_does_not_wait_for_one_that_rotates(tmp_path: Path) -> None:
    log_to(tmp_path / "router.log", max_bytes=1_000)
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)

    for n in range(30):
        structlog.get_logger().info("written", n=n)

    os.close(folder)
    assert [file.name for file in tmp_path.iterdir()] == ["router.log"]
    assert len((tmp_path / "router.log").read_text().splitlines()) == 30


def test_a_file_that_was_moved_away_is_begun_again(tmp_path: Path) -> None:
    log_to(tmp_path / "router.log")
    structlog.get_logger().info("first")
    (tmp_path / "router.log").rename(tmp_path / "moved")

    structlog.get_logger().info("second")

    assert "second" in (tmp_path / "router.log").read_text()
    assert "second" not in (tmp_path / "moved").read_text()


def test_a_file_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StartupError, match=r"^LOG_FILE: cannot write .*/file/router.log: "):
        log_to(tmp_path / "file" / "router.log")
    with pytest.raises(StartupError, match="Is a directory"):
        log_to(tmp_path)


def test_a_file_that_can_no_longer_be_written_is_reported_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "logs"
    log_to(folder / "router.log")
    (folder / "router.log").unlink()
    folder.rmdir()

    for n in range(3):
        structlog.get_logger().info("written", n=n)

    errors = capsys.readouterr().err
    assert errors.count("router: LOG_FILE: cannot write") == 1
    assert errors.count('"event":"written"') == 3
    folder.mkdir()
    structlog.get_logger().info("written", n=3)
    assert '"n":3' in (folder / "router.log").read_text()


def test_the_settings_name_the_file(tmp_path: Path) -> None:
    named = load_settings(None, {"LOG_FILE": "~/my.log", "LOG_FILE_MAX_BYTES": "5000"}).kept_log
    usual = load_settings(None, {"LOG_FILE": "auto"}).kept_log

    assert named == LogFile("~/my.log", 5_000, 5)
    assert named.path == Path.home() / "my.log"
    assert usual is not None
    assert (usual.path.name, "llm-router" in usual.path.parts) == ("router.log", True)
    assert load_settings(None, {}).kept_log is None


@pytest.mark.parametrize(
    ("given", "level"), [("WARN", "warning"), ("Critical", "critical"), ("fatal", "critical")]
)
def test_levels_have_the_names_of_other_programs_too(given: str, level: str) -> None:
    assert load_settings(None, {"LOG_LEVEL": given}).log_level == level


def test_a_closed_file_is_not_written(tmp_path: Path) -> None:
    log_to(tmp_path / "router.log")
    set_up_logs("info", "json")

    structlog.get_logger().info("later")

    assert (tmp_path / "router.log").read_text() == ""
    assert not any(isinstance(handler, SharedLogFile) for handler in logging.getLogger().handlers)
