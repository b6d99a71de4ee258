from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.commands.jobs.check import check
from service.settings.load import read_environment

ROOT = Path(__file__).parents[3]
MODELS = """
models:
  - id: mine
    provider: openai
    base_url: http://me:hush@vllm:8000/
    model: m
    api_key_env: MY_API_KEY
    price: {input: 1, output: 2}
  - {id: theirs, provider: litellm, model: groq/x, api_key_env: GROQ_API_KEY}
"""


def run(folder: Path, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service.cli", "check", *options],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def as_json(folder: Path, **environ: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(run(folder, "--json", **environ).stdout)
    return parsed


def test_an_empty_folder_is_sound_and_stays_empty(tmp_path: Path) -> None:
    done = run(tmp_path)

    assert done.returncode == 0
    assert done.stderr == ""
    assert "the models are simulated" in done.stdout
    assert done.stdout.endswith("the settings are sound\n")
    assert list(tmp_path.iterdir()) == []


def test_models_are_shown_with_prices_and_the_names_of_their_keys(tmp_path: Path) -> None:
    (tmp_path / "config.dev.yaml").write_text(MODELS)
    (tmp_path / ".env").write_text("MY_API_KEY=sk-hush\n")

    done = run(tmp_path)

    assert (
        "mine  $1 in, $2 out per million tokens  (openai at http://vllm:8000/v1, key in MY_API_KEY, default)"
        in (done.stdout)
    )
    assert "left out: theirs: GROQ_API_KEY is not set" in done.stdout
    assert "hush" not in done.stdout
    assert done.returncode == 0


def test_faults_of_chat_and_embedding_models_are_reported_together(tmp_path: Path) -> None:
    place = "base_url: http://vllm:8000/v1, model: e"
    (tmp_path / "config.dev.yaml").write_text(
        f"{MODELS}default_model: nobody\nembedding_models:\n"
        f"  - {{id: e, {place}, dimensions: 3}}\n  - {{id: e, {place}, dimensions: 4}}\n"
        f"moderation_models:\n  - {{id: m, {place}, api_key_env: M_KEY}}\n"
    )

    done = run(tmp_path, MY_API_KEY="sk-hush")

    assert done.returncode != 0
    assert "DEFAULT_MODEL: 'nobody'" in done.stdout
    assert "entries of e have different dimensions, [3, 4]" in done.stdout


def test_an_embedding_model_without_its_key_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "config.dev.yaml").write_text(
        "embedding_models:\n  - {id: e, base_url: http://e/v1, model: e, api_key_env: E_KEY}\n"
    )

    assert "left out: e: E_KEY is not set" in run(tmp_path).stdout


def test_json_has_everything(tmp_path: Path) -> None:
    (tmp_path / "config.dev.yaml").write_text(MODELS)
    (tmp_path / ".env").write_text("MY_API_KEY=sk-hush\nLOGLEVEL=debug\n")

    report = as_json(tmp_path)

    assert report["config_file"] == "config.dev.yaml"
    assert report["env_file"] == ".env"
    assert report["errors"] == []
    assert report["warnings"] == [
        {"message": "LOGLEVEL is not read; did you mean LOG_LEVEL?", "where": ".env, line 2"}
    ]
    [model] = report["models"]
    assert (model["id"], model["is_default"], model["api_key_env"]) == ("mine", True, "MY_API_KEY")
    assert set(report["stores"]) == {"PostgreSQL", "Qdrant"}


def test_every_error_is_shown_with_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("prot: 1\n")
    (tmp_path / ".env").write_text("PORT=x\n")

    done = run(tmp_path, CONFIG_FILE="c.yaml")

    assert done.returncode == 1
    assert set(done.stdout.splitlines()[-2:]) == {
        "error: c.yaml, line 1: unknown key `prot`; did you mean `port`?",
        "error: .env, line 1: PORT must be a whole number, got 'x'",
    }
    assert len(as_json(tmp_path, CONFIG_FILE="c.yaml")["errors"]) == 2


@pytest.mark.parametrize(
    ("environ", "error"),
    [
        ({"LLM_MODELS": "groq/a,cohere/b"}, "GROQ_API_KEY"),
        ({"DEFAULT_MODEL": "nobody"}, "DEFAULT_MODEL: 'nobody'"),
        ({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://localhost:8080"}, "this router itself"),
        ({"OPENAI_API_KEY": "k", "ALL_PROXY": "socks5://p"}, "ALL_PROXY must be"),
        ({"CONFIG_FILE": "nowhere.yaml"}, "cannot read nowhere.yaml"),
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL must look like"),
        (
            {
                "OPENAI_API_KEY": "k",
                "LLM_MODELS": "openai/nobody-knows",
                "BUDGET_USD_PER_REQUEST": "1",
                "PRICE_LISTS": "false",
            },
            "needs the price of every model",
        ),
    ],
)
def test_what_would_stop_the_start_is_an_error(tmp_path: Path, environ: dict[str, str], error: str) -> None:
    checked = check(read_environment(environ, tmp_path / ".env"))

    assert not checked.is_sound
    assert error in str(checked.errors[0])


def test_names_that_cannot_be_reached_are_errors_of_their_own(tmp_path: Path) -> None:
    checked = check(read_environment({"LLM_MODELS": "groq/a,cohere/b"}, tmp_path / ".env"))

    assert len(checked.errors) == 2


def test_a_price_that_the_provider_may_publish_is_no_error_even_with_a_budget(tmp_path: Path) -> None:
    environ = {"OPENAI_API_KEY": "k", "LLM_MODELS": "openai/nobody-knows", "BUDGET_USD_PER_REQUEST": "1"}

    checked = check(read_environment(environ, tmp_path / ".env"))

    assert checked.is_sound
    assert "a start looks it up at its provider" in str(checked.warnings[0])


def test_a_name_in_dot_env_is_found_by_its_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# ours\nLLM_MODELS=groq/a\n")

    [error] = check(read_environment({}, tmp_path / ".env")).errors

    assert str(error) == (
        f"{tmp_path}/.env, line 2: LLM_MODELS: 'groq/a' needs GROQ_API_KEY, which is not set"
    )


def test_an_unknown_price_is_a_warning(tmp_path: Path) -> None:
    environ = {"OPENAI_API_KEY": "k", "LLM_MODELS": "openai/nobody-knows", "PRICE_LISTS": "false"}

    checked = check(read_environment(environ, tmp_path / ".env"))

    assert checked.is_sound
    assert "the price of openai/nobody-knows is not known" in str(checked.warnings[0])
