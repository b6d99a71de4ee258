from __future__ import annotations

import socket
from typing import Any

import pytest

from service.arms.configured import ArmList, choose_arms
from service.arms.known_models import known_models
from service.errors import StartupError
from service.providers.simulator.simulator import SIMULATED_ARMS
from service.settings.settings import Settings
from service.settings.vendors import VENDORS, variables_of_litellm

OPENAI = {"OPENAI_API_KEY": "sk-1"}


def chosen(environ: dict[str, str], **settings: Any) -> ArmList:
    return choose_arms(Settings.model_validate(settings), environ, known_models(), SIMULATED_ARMS)


def base_urls(arms: ArmList) -> set[str | None]:
    return {arm.base_url for arm in arms.arms}


@pytest.mark.parametrize(
    ("key", "variable", "written", "called"),
    [
        ("OPENAI_API_KEY", "OPENAI_BASE_URL", "http://proxy:4000", "http://proxy:4000/v1"),
        ("OPENAI_API_KEY", "OPENAI_API_BASE", '"http://proxy:4000/v1/"', "http://proxy:4000/v1"),
        ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "https://mirror/api/v1", "https://mirror/api/v1"),
        ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "https://gateway/v1/messages", "https://gateway"),
    ],
)
def test_well_known_models_are_called_where_the_environment_says(
    key: str, variable: str, written: str, called: str
) -> None:
    assert base_urls(chosen({key: "k", variable: written})) == {called}


def test_well_known_models_of_google_are_called_with_either_key() -> None:
    assert {arm.api_key_env for arm in chosen({"GOOGLE_API_KEY": "k"}).arms} == {"GOOGLE_API_KEY"}


def test_a_configured_address_is_kept() -> None:
    entry = {"id": "a", "provider": "openai", "model": "m", "base_url": "http://mine/v1"}

    assert base_urls(chosen({"OPENAI_BASE_URL": "http://other/v1"}, models=[entry])) == {"http://mine/v1"}


def test_a_configured_anthropic_model_without_an_address_is_called_where_the_environment_says() -> None:
    entry = {"id": "a", "provider": "anthropic", "model": "m"}

    assert base_urls(chosen({"ANTHROPIC_BASE_URL": "https://gateway"}, models=[entry])) == {"https://gateway"}
    assert base_urls(chosen({}, models=[entry])) == {None}


def test_a_configured_anthropic_model_without_an_address_is_called_with_the_vendors_key() -> None:
    entry = {"id": "a", "provider": "anthropic", "model": "m"}
    own = entry | {"base_url": "http://mine"}

    def keys(entry: dict[str, str]) -> set[str | None]:
        return {arm.api_key_env for arm in chosen({"ANTHROPIC_API_KEY": "k"}, models=[entry]).arms}

    assert keys(entry) == {"ANTHROPIC_API_KEY"}
    assert keys(own) == {None}


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://localhost:8080/v1", "127.0.0.1"),
        ("http://127.0.0.1:8080", "127.0.0.1"),
        ("localhost:8080", "::1"),
        ("http://[::1]:8080/v1", "localhost"),
        ("http://0.0.0.0:8080/v1", "127.0.0.1"),
        ("http://localhost:8080/v1", "0.0.0.0"),
        (f"http://{socket.gethostname()}:8080/v1", "0.0.0.0"),
        ("http://192.168.7.7:8080/v1", "192.168.7.7"),
    ],
)
def test_a_router_that_would_call_itself_does_not_start(url: str, host: str) -> None:
    settings: dict[str, Any] = {"host": host, "allow_anonymous": True, "port": 8080}
    entry = {"id": "a", "provider": "openai", "model": "m", "base_url": url}
    endpoint = {"embedding_backend": "http", "embedding_model": "m", "embedding_base_url": url}

    with pytest.raises(StartupError, match=r"is the address of this router itself.*unset OPENAI_BASE_URL"):
        chosen({**OPENAI, "OPENAI_BASE_URL": url}, **settings)
    with pytest.raises(StartupError, match=r"OPENAI_BASE_URL is the address of this router itself"):
        chosen({"OPENAI_BASE_URL": url}, **settings)
    with pytest.raises(StartupError, match=r"the base URL of a is the address of this router itself"):
        chosen({}, models=[entry], **settings)
    with pytest.raises(StartupError, match=r"EMBEDDING_BASE_URL is the address of this router itself"):
        chosen({}, **endpoint, **settings)


@pytest.mark.parametrize("url", ["http://localhost:8081/v1", "http://other:8080/v1", "https://127.0.0.1/v1"])
def test_other_addresses_are_not_the_routers(url: str) -> None:
    assert base_urls(chosen({**OPENAI, "OPENAI_BASE_URL": url})) == {url}


def test_a_port_that_the_kernel_chooses_is_nobodys() -> None:
    assert not chosen({**OPENAI, "OPENAI_BASE_URL": "http://localhost:80/v1"}, port=0).is_simulated


@pytest.mark.parametrize(
    ("prefix", "variable"),
    [(prefix, vendor.addresses[0]) for prefix, vendor in VENDORS.items() if vendor.provider != "litellm"],
)
def test_an_address_without_a_model_stops_the_start(prefix: str, variable: str) -> None:
    with pytest.raises(StartupError, match=f"{variable} is set: name its models in LLM_MODELS, as "):
        chosen({variable: "http://host:1234"})


def test_the_variable_of_ollamas_server_alone_changes_nothing() -> None:
    assert chosen({"OLLAMA_HOST": "0.0.0.0"}).is_simulated


def test_litellm_gets_what_it_reads_itself() -> None:
    environ = {"AZURE_API_VERSION": "1", "AWS_SECRET_ACCESS_KEY": "s", "OPENAI_API_KEY": "k", "HOME": "/"}

    assert dict(variables_of_litellm(environ)) == {"AZURE_API_VERSION": "1", "AWS_SECRET_ACCESS_KEY": "s"}


def test_a_proxy_that_no_model_can_be_called_through_stops_the_start() -> None:
    socks = {"ALL_PROXY": "socks5://me:hush@proxy:1080"}

    with pytest.raises(StartupError, match=r"^ALL_PROXY must be http://host:port"):
        chosen({**OPENAI, **socks})
    assert chosen(socks).is_simulated
    assert chosen({**OPENAI, **socks, "NO_PROXY": "*"}).arms
    assert chosen({"OLLAMA_BASE_URL": "http://localhost:1", **socks}, llm_models="ollama/m").arms
