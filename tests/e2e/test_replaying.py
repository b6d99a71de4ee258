"""`router replay` and `router upstream`, from the command to its end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

from service.commands.jobs.replay.demo import DEMO_FILE
from service.domain.basics import Json
from tests.e2e.conftest import NewRouter
from tests.e2e.running import PATIENCE_S


def test_replay_reports_on_every_row(new_router: NewRouter) -> None:
    router = new_router()
    out_dir = router.folder / "report"

    done = router.run("replay", str(DEMO_FILE), "--rows", "60", "--out", str(out_dir), LOG_LEVEL="error")

    assert done.returncode == 0, done.stderr
    report: Json = json.loads((out_dir / "report.json").read_text())
    assert (out_dir / "report.txt").read_text().strip() in done.stdout
    assert (out_dir / "report.png").read_bytes().startswith(b"\x89PNG")
    assert (report["n"], report["n_failed"]) == (60, 0)


def test_ctrl_c_ends_a_command_with_exit_code_130_and_no_traceback() -> None:
    command = [sys.executable, "-m", "service.cli", "upstream", str(DEMO_FILE), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as upstream:
        assert upstream.stdout is not None
        first = upstream.stdout.readline()
        upstream.send_signal(signal.SIGINT)
        _, complained = upstream.communicate(timeout=PATIENCE_S)

    assert first.startswith("# recorded models on http://127.0.0.1:")
    assert upstream.returncode == 130
    assert complained == ""
