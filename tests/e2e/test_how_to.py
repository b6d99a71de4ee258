"""The shell examples of the how-to pages, run against a router like a reader runs them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import yaml

from tests.clients.upstream import scripted_upstream
from tests.e2e.running import PATIENCE_S, RunningRouter
from tests.test_how_to import FOLDER, blocks

Serve = Callable[..., RunningRouter]
SHOWN_URL = "http://127.0.0.1:8080"
ADMIN_KEY = "a key of the operator"
FAIL_ON_ERROR = 'curl() { command curl --fail-with-body "$@"; }\n'  # pages show a bare curl
PROVIDERS = {
    "connect-openai": "https://api.openai.com/v1",
    "connect-ollama": "http://127.0.0.1:11434/v1",
    "connect-vllm": "http://127.0.0.1:8000/v1",
}


def test_models_are_changed_budgets_kept_and_feedback_sent_as_shown(serve: Serve) -> None:
    router = serve(admin_key=ADMIN_KEY, cors_origins="https://app.example.com")
    router.ask("first-1", "Hi")

    for page in ("change-models", "keep-to-a-budget", "send-feedback-from-a-web-page"):
        for example in curls(page):
            run(router, example)
    for example in curls("try-a-model-in-shadow"):
        run(router, example.replace("sim-new", "sim-newer"))

    answer = httpx.get(f"{router.url}/admin/models", headers={"x-api-key": ADMIN_KEY}, timeout=PATIENCE_S)
    listed = {model["id"]: model for model in answer.json()["data"]}
    assert (listed["sim-new"]["state"], listed["sim-new"]["price"]["input"]) == ("retired", 4)
    assert listed["sim-newer"]["state"] == "active"
    assert router.get("/requests/first-1")["reward"] == 1


def test_providers_are_connected_as_shown(serve: Serve, tmp_path: Path) -> None:
    with scripted_upstream() as upstream:
        models = []
        for page, url in PROVIDERS.items():
            [example] = blocks(FOLDER / f"{page}.md", "yaml")
            models += yaml.safe_load(example.replace(url, upstream.base_url))["models"]
        assert {model["base_url"] for model in models} == {upstream.base_url}
        file = tmp_path / "models.yaml"
        file.write_text(yaml.safe_dump({"models": models}), "utf-8")
        router = serve(config_file=str(file), openai_api_key="x", vllm_api_key="y")

        for page in PROVIDERS:
            [example] = [e for e in curls(page) if "completions" in e]
            run(router, example.replace("ollama/llama3.2", "llama3.2"))

    assert [body["model"] for body in upstream.bodies] == ["gpt-4.1-mini", "llama3.2", "Qwen/Qwen3-32B"]
    assert upstream.bodies[-1]["top_k"] == 20


def curls(page: str) -> list[str]:
    return [example for example in blocks(FOLDER / f"{page}.md", "sh") if example.startswith("curl")]


def run(router: RunningRouter, example: str) -> None:
    """Run an example; `curl` must get a status below 400."""
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", FAIL_ON_ERROR + example.replace(SHOWN_URL, router.url)],
        env=router.environ | {"PATH": "/usr/bin:/bin"},
        capture_output=True,
        timeout=PATIENCE_S,
        check=True,
    )
