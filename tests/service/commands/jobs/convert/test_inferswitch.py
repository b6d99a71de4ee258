from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.cli import main
from service.settings.load import load_settings
from service.settings.settings import Settings

SECRET = "sk-ant-a-secret-key"
FILE: dict[str, Any] = {
    "backends": {
        "anthropic": {"api_key": SECRET, "timeout": 300},
        "lm-studio": {"base_url": "http://127.0.0.1:1234", "timeout": 600},
        "my-backend": {"base_url": "https://llm.example.com/v1", "api_key": SECRET, "headers": {"X": SECRET}},
    },
    "model_providers": {
        "claude-sonnet-4": "anthropic",
        "qwen/coder": "lm-studio",
        "my-model": "my-backend",
    },
    "model_overrides": {"claude-opus-4": "claude-sonnet-4"},
    "force_expert_routing": True,
    "expert_definitions": {"coding": "Writes and mends programs.", "general": "Answers all else."},
    "expert_models": {"coding": ["qwen/coder", "claude-sonnet-4"], "general": ["my-model"]},
    "difficulty_models": {"0-1": "qwen/coder", "3": ["my-model"], "[4,5]": ["claude-sonnet-4"]},
    "fallback": {"provider": "anthropic", "model": "claude-sonnet-4"},
    "model_availability": {"disable_duration_seconds": 300, "max_retries": 1},
    "cache": {"enabled": True, "max_size": 500, "ttl_seconds": 60},
    "mlx_model": "arch-router",
}


@pytest.fixture
def convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def convert(content: object) -> tuple[str, str]:
        file = tmp_path / "inferswitch.config.json"
        file.write_text(json.dumps(content))
        assert main(["convert", str(file)]) == 0
        printed = capsys.readouterr()
        return printed.out, printed.err

    return convert


def loaded(text: str, tmp_path: Path) -> Settings:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return load_settings(file, {"ANTHROPIC_API_KEY": "a", "MY_BACKEND_API_KEY": "b"})


def test_a_converted_file_is_a_configuration_of_this_router(convert: Any, tmp_path: Path) -> None:
    text, _ = convert(FILE)

    settings = loaded(text, tmp_path)

    models = {model.id: model for model in settings.models}
    assert models.keys() == {"claude-sonnet-4", "qwen/coder", "my-model"}
    assert models["claude-sonnet-4"].provider == "anthropic"
    assert models["claude-sonnet-4"].timeout_s == 300
    assert models["qwen/coder"].base_url == "http://127.0.0.1:1234/v1"
    assert models["my-model"].api_key_env == "MY_BACKEND_API_KEY"
    assert settings.default_model == "claude-sonnet-4"
    assert settings.model_map == {"claude-opus-4": "claude-sonnet-4"}
    assert settings.force_expert_routing
    assert (settings.cache_enabled, settings.cache_max_size, settings.cache_ttl_seconds) == (True, 500, 60)


def test_experts_keep_their_descriptions_and_models(convert: Any, tmp_path: Path) -> None:
    policies = loaded(convert(FILE)[0], tmp_path).policies

    coding = policies.experts["coding"]
    assert coding.description == "Writes and mends programs."
    assert coding.models == ("qwen/coder", "claude-sonnet-4")
    assert coding.fallback_model == "claude-sonnet-4"


def test_difficulties_become_tiers(convert: Any, tmp_path: Path) -> None:
    policies = loaded(convert(FILE)[0], tmp_path).policies

    assert dict(policies.tiers) == {
        "simple": ("qwen/coder",),
        "medium": ("my-model",),
        "complex": ("claude-sonnet-4",),
    }
    assert policies.tier_by_difficulty


def test_a_tier_without_models_has_those_of_its_neighbour(convert: Any, tmp_path: Path) -> None:
    text, _ = convert({**FILE, "difficulty_models": {"0-2": "qwen/coder"}})

    assert set(loaded(text, tmp_path).policies.tiers.values()) == {("qwen/coder",)}


def test_secrets_are_never_written(convert: Any) -> None:
    text, notes = convert(FILE)

    assert SECRET not in text + notes
    assert "set MY_BACKEND_API_KEY in the environment" in notes
    assert "set ANTHROPIC_API_KEY in the environment" in notes


def test_what_has_no_counterpart_is_reported(convert: Any) -> None:
    odd = {**FILE, "colour": "red", "expert_models": {"coding": ["nobodys-model"]}}

    text, notes = convert(odd)

    for key in ("colour", "mlx_model", "backends.my-backend.headers", "model_availability.max_retries"):
        assert f"router: {key}: " in notes
    assert "model nobodys-model: it has no backend" in notes
    assert "# colour: " in text


def test_the_old_areas_of_expertise_are_experts_too(convert: Any) -> None:
    text, notes = convert({"expertise_models": {"math": ["gpt-4"]}, "model_providers": {"gpt-4": "openai"}})

    experts = yaml.safe_load(text)["policies"]["experts"]
    assert experts == {"math": {"description": "Requests about: math", "models": ["gpt-4"]}}
    assert "expert math: it has no description" in notes


@pytest.mark.parametrize("content", ["not json {", '{"backends": {"a": {"timeout": "soon, sk-secret"}}}'])
def test_a_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    file = tmp_path / "inferswitch.config.json"
    file.write_text(content)

    assert main(["convert", str(file)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "sk-secret" not in error
