"""`router replay` and `router demo`, from the command to the report."""

from __future__ import annotations

import json

from service.domain.basics import Json
from service.replay.demo import DEMO_FILE
from tests.e2e.conftest import NewRouter


def test_replay_reports_on_every_row(new_router: NewRouter) -> None:
    router = new_router()
    out_dir = router.folder / "report"

    done = router.run("replay", str(DEMO_FILE), "--rows", "60", "--out", str(out_dir), LOG_LEVEL="error")
    report: Json = json.loads((out_dir / "report.json").read_text())

    assert done.returncode == 0, done.stderr
    assert (out_dir / "report.txt").read_text().strip() in done.stdout
    assert (out_dir / "report.png").read_bytes().startswith(b"\x89PNG")
    assert (report["n"], report["n_failed"]) == (60, 0)
