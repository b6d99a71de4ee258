"""The settings of logins: every fault stops the start with its rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from service.arms.configured import choose_arms
from service.arms.known_models import known_models
from service.errors import StartupError
from service.providers.simulator.simulator import SIMULATED_ARMS
from service.settings.load import load_settings
from service.settings.settings import Settings

LOGIN: dict[str, Any] = {
    "authorize_url": "https://login.vendor.example/authorize",
    "token_url": "https://login.vendor.example/token",
    "client_id": "the-router",
    "base_urls": ["https://api.vendor.example/v1"],
}
MODEL: dict[str, Any] = {
    "id": "m",
    "provider": "openai",
    "model": "m",
    "base_url": "https://api.vendor.example/v2",
    "auth": "vendor",
}


def load(tmp_path: Path, login: dict[str, Any], model: dict[str, Any], **environ: str) -> Settings:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"providers_auth": {"vendor": login}, "models": [model]}))
    return load_settings(path, environ)


def test_a_model_may_be_on_any_path_of_a_server_that_gets_the_token(tmp_path: Path) -> None:
    settings = load(tmp_path, LOGIN, MODEL)

    assert settings.models[0].auth == "vendor"
    assert settings.providers_auth["vendor"].client_auth == "basic"


def test_loopback_needs_no_encryption(tmp_path: Path) -> None:
    local = dict.fromkeys(("authorize_url", "token_url", "redirect_url"), "http://127.0.0.1:9000/x")
    load(tmp_path, LOGIN | local, MODEL)


@pytest.mark.parametrize(
    ("login", "model", "rule"),
    [
        ({"token_url": "http://login.vendor.example/token"}, {}, "token_url must begin with https://"),
        ({"token_url": "https://me:pw@vendor.example/"}, {}, "token_url must have no login"),
        ({"base_urls": []}, {}, "base_urls"),
        ({"base_urls": ["http://api.vendor.example"]}, {}, "base_urls must begin with https://"),
        ({"authorize_params": {"state": "x"}}, {}, "authorize_params must not set state"),
        ({"scope": ["x"]}, {}, "unknown key `providers_auth.vendor.scope`; did you mean `scopes`"),
        ({}, {"auth": "other"}, "auth of m must be an entry of providers_auth (vendor), got 'other'"),
        ({}, {"base_url": "https://evil.example/v1"}, "base_url of m must be one of providers_auth.vendor"),
        ({}, {"base_url": "https://api.vendor.example:8443/v1"}, "base_url of m must be one of"),
        ({}, {"api_key_env": "KEY"}, "api_key_env and auth exclude each other"),
        ({}, {"provider": "litellm"}, "auth needs provider openai or anthropic, got litellm"),
    ],
)
def test_a_fault_stops_the_start_with_its_rule(
    tmp_path: Path, login: dict[str, Any], model: dict[str, Any], rule: str
) -> None:
    with pytest.raises(StartupError) as stopped:
        load(tmp_path, LOGIN | login, MODEL | model)

    assert rule in str(stopped.value)
    assert "pw" not in str(stopped.value)


def test_a_key_in_the_file_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(StartupError) as stopped:
        load(tmp_path, LOGIN, {**MODEL, "auth": None, "api_key": "sk-a-real-key"})

    assert "api_key must be client" in str(stopped.value)
    assert "sk-a-real-key" not in str(stopped.value)


def test_the_secret_key_belongs_into_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"secret_key: {'x' * 40}\n")

    with pytest.raises(StartupError, match="SECRET_KEY"):
        load_settings(path, {})
    assert load_settings(None, {"SECRET_KEY": "x" * 40}).secret_key is not None


def test_a_client_secret_that_is_not_set_stops_the_start(tmp_path: Path) -> None:
    settings = load(tmp_path, LOGIN | {"client_secret_env": "VENDOR_SECRET"}, MODEL)

    with pytest.raises(StartupError, match="client_secret_env: VENDOR_SECRET is not set"):
        choose_arms(settings, {}, known_models(), SIMULATED_ARMS)
    assert choose_arms(settings, {"VENDOR_SECRET": "x"}, known_models(), SIMULATED_ARMS).arms
