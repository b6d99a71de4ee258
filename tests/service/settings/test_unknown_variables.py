from __future__ import annotations

from pathlib import Path

import pytest

from service.settings.environment import Environment
from service.settings.load import load_settings, read_environment
from service.settings.settings import Settings
from service.settings.unknown_variables import unknown_variables
from service.settings.vendors import vendor_variables

# What other programs set: shells, desktops, containers, CI, cloud tools, SDKs.
ORDINARY = Path(__file__).with_name("ordinary_variables.txt").read_text().split()


def suggested(environ: dict[str, str], settings: Settings | None = None) -> dict[str, str]:
    return {found.name: found.meant for found in unknown_variables(Environment(environ), settings)}


def test_variables_of_other_programs_are_left_alone() -> None:
    assert suggested(dict.fromkeys(ORDINARY, "x")) == {}


def test_variables_of_the_router_are_left_alone() -> None:
    ours = {name.upper() for name in Settings.model_fields} | vendor_variables()

    assert (
        suggested(dict.fromkeys([*ours, "CONFIG_FILE", "DATABASE_HOST", "no_proxy", "NO_PROXY"], "x")) == {}
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("OPENAI_KEY", "OPENAI_API_KEY"),
        ("OPENAI_APIKEY", "OPENAI_API_KEY"),
        ("OPEN_AI_API_KEY", "OPENAI_API_KEY"),
        ("OPENAI_API_KEYS", "OPENAI_API_KEY"),
        ("OPENAI_API_TOKEN", "OPENAI_API_KEY"),
        ("OPENIA_API_KEY", "OPENAI_API_KEY"),
        ("openai_api_key", "OPENAI_API_KEY"),
        ("CLAUDE_API_KEY", "ANTHROPIC_API_KEY"),
        ("ANTROPIC_API_KEY", "ANTHROPIC_API_KEY"),
        ("GEMINI_KEY", "GEMINI_API_KEY"),
        ("GROQ_APIKEY", "GROQ_API_KEY"),
        ("OPENAI_URL", "OPENAI_BASE_URL"),
        ("OPENAI_ENDPOINT", "OPENAI_BASE_URL"),
        ("OLLAMA_URL", "OLLAMA_BASE_URL"),
        ("LMSTUDIO_URL", "LM_STUDIO_BASE_URL"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("log_level", "LOG_LEVEL"),
        ("BUDGET_USD", "BUDGET_USD_PER_REQUEST"),
        ("SESSION_TTL", "SESSION_TTL_S"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("DB_URL", "DATABASE_URL"),
        ("POSTGRES_URL", "DATABASE_URL"),
        ("QDRANT_HOST", "QDRANT_URL"),
        ("QDRANT_KEY", "QDRANT_API_KEY"),
        ("EMBEDDING_URL", "EMBEDDING_BASE_URL"),
        ("EMBEDDINGS_BACKEND", "EMBEDDING_BACKEND"),
        ("EXPLORATION_RATES", "EXPLORATION_RATE"),
        ("ROUTER_PORT", "PORT"),
        ("LLM_ROUTER_LOG_LEVEL", "LOG_LEVEL"),
        ("ALLOW_ANONYMUS", "ALLOW_ANONYMOUS"),
        ("DATADIR", "DATA_DIR"),
    ],
)
def test_a_misspelled_variable_is_named_with_the_one_that_was_meant(name: str, meant: str) -> None:
    assert suggested({name: "x"}) == {name: meant}


def test_nothing_is_suggested_that_is_set() -> None:
    assert suggested({"OPENAI_KEY": "x", "OPENAI_API_KEY": "y"}) == {}


def test_the_keys_of_configured_models_are_known(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("models: [{id: a, provider: litellm, model: m, api_key_env: OPENAI_KEY}]")

    assert suggested({"OPENAI_KEY": "x"}, load_settings(file, {})) == {}


def test_a_variable_in_dot_env_needs_less_likeness_and_is_found_by_its_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\nMAX_ATEMPT=3\nEXPLORE_RATE=0\nLOGLVL=x\n")
    environ = read_environment({}, tmp_path / ".env")

    assert [str(found.fault) for found in unknown_variables(environ, None)] == [
        f"{tmp_path}/.env, line 3: EXPLORE_RATE is not read; did you mean EXPLORATION_RATE?",
        f"{tmp_path}/.env, line 4: LOGLVL is not read; did you mean LOG_LEVEL?",
        f"{tmp_path}/.env, line 2: MAX_ATEMPT is not read; did you mean MAX_ATTEMPTS?",
    ]
    assert suggested({"EXPLORE_RATE": "0", "LOGLVL": "x"}) == {}
