"""Schemathesis over /openapi.json: no 500, and no answer that the document does not describe."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.conftest import needs
from tests.clients.environments import VENV
from tests.e2e.conftest import encoder_folder, new_router, serve, workplace
from tests.e2e.running import RunningRouter
from tests.sdk_suites.upstream import permissive_upstream

__all__ = ["encoder_folder", "new_router", "serve", "workplace"]

SCHEMATHESIS = VENV / "bin" / "schemathesis"
TIMEOUT_S = 1_200.0  # on a busy machine
OPTIONS = [
    *("--phases", "examples,coverage,fuzzing", "--max-examples", "5", "--generation-deterministic"),
    *("--checks", "not_a_server_error,status_code_conformance,content_type_conformance"),
    *("--continue-on-failure", "--warnings", "off"),
]


# /admin adds models at arbitrary addresses, which no other request may call.
@pytest.mark.parametrize("paths", ["--exclude-path-regex", "--include-path-regex"])
def test_every_answer_is_documented(paths: str, serve: Callable[..., RunningRouter], tmp_path: Path) -> None:
    needs(None if SCHEMATHESIS.exists() else "`make clients` installs Schemathesis")
    with permissive_upstream() as upstream:
        done = check(paths, serve(CONFIG_FILE=str(configuration(tmp_path, upstream))))

    assert done.returncode == 0, done.stdout
    assert " 0 selected" not in done.stdout


def configuration(folder: Path, upstream: str) -> Path:
    """A file with what /v1/moderations and /oauth need to answer; the other models are simulated."""
    model = {"id": "judge", "base_url": f"{upstream}/v1", "model": "judge"}
    login = {
        "authorize_url": f"{upstream}/authorize",
        "token_url": f"{upstream}/token",
        "client_id": "router",
        "base_urls": [upstream],
    }
    path = folder / "models.json"  # JSON is YAML
    path.write_text(json.dumps({"moderation_models": [model], "providers_auth": {"vendor": login}}))
    return path


def check(paths: str, router: RunningRouter) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCHEMATHESIS, "--no-color", "run", f"{router.url}/openapi.json", *OPTIONS, paths, "^/admin"],
        cwd=router.folder,
        env={"PATH": ""},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
