from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.settings.base_urls import ENDPOINTS, Dialect, base_url, http_url, is_loopback_host

OPENAI = "https://api.openai.com/v1"


@pytest.mark.parametrize(
    "written",
    [
        OPENAI,
        f"{OPENAI}/",
        f"{OPENAI}//",
        f" {OPENAI}\r\n",
        f'"{OPENAI}"',
        f"'{OPENAI}/'",
        f"{OPENAI}/chat/completions",
        f"{OPENAI}/chat/completions/",
        f"{OPENAI}/completions",
        f"{OPENAI}/models",
        f"{OPENAI}/v1",
        "https://api.openai.com",
        "https://api.openai.com/",
        "https://api.openai.com//v1",
        "HTTPS://API.OpenAI.com/v1",
        "https://api.openai.com:443/v1",
        "https://api.openai.com:/v1",
    ],
)
def test_one_address_has_one_form(written: str) -> None:
    assert base_url(written, "openai") == OPENAI


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://localhost:11434", "http://localhost:11434/v1"),
        ("localhost:11434", "http://localhost:11434/v1"),
        ("127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        ("[::1]:8000", "http://[::1]:8000/v1"),
        ("http://[2001:DB8::1]:80/v1", "http://[2001:db8::1]/v1"),
        ("http://vllm:80", "http://vllm/v1"),
        ("http://vllm:443/v1", "http://vllm:443/v1"),
        ("https://host/some/Path/", "https://host/some/Path"),
        ("https://me:pass@host/v1/", "https://me:pass@host/v1"),
        ("https://host/v1/embeddings", "https://host/v1"),
        ("https://openrouter.ai", "https://openrouter.ai/api/v1"),
        ("https://openrouter.ai/api", "https://openrouter.ai/api/v1"),
        ("https://openrouter.ai/v1/chat/completions", "https://openrouter.ai/api/v1"),
        ("https://api.groq.com/v1", "https://api.groq.com/openai/v1"),
        ("https://api.groq.com/openai/v1", "https://api.groq.com/openai/v1"),
        (
            "https://generativelanguage.googleapis.com/v1beta",
            "https://generativelanguage.googleapis.com/v1beta/openai",
        ),
        ("https://api.perplexity.ai", "https://api.perplexity.ai"),
        ("https://api.perplexity.ai/chat/completions", "https://api.perplexity.ai"),
    ],
)
def test_other_hosts_keep_their_own_path(written: str, meant: str) -> None:
    assert base_url(written, "openai") == meant


def test_a_server_that_answers_at_its_root_is_given_with_its_endpoint() -> None:
    assert base_url("http://vllm:8000/chat/completions/", "openai") == "http://vllm:8000/chat/completions"
    assert base_url("http://tei:8000/embeddings", "openai") == "http://tei:8000/embeddings"


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/messages", "/v1/messages/", "/messages"])
def test_anthropics_address_has_no_path(path: str) -> None:
    assert base_url(f"https://api.anthropic.com{path}", "anthropic") == "https://api.anthropic.com"


def test_a_gateway_for_anthropic_keeps_its_path() -> None:
    assert base_url("https://gateway/anthropic/v1/messages", "anthropic") == "https://gateway/anthropic"


@pytest.mark.parametrize("path", ["", "/", "/v1", "/api", "/api/", "/api/chat", "/v1/chat/completions"])
def test_ollama_is_called_where_it_speaks_openais_api(path: str) -> None:
    assert base_url(f"http://127.0.0.1:11434{path}", "ollama") == "http://127.0.0.1:11434/v1"


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ("", "must begin with"),
        ("api.openai.com/v1", "must begin with https:// or http://"),
        ("vllm:8000", "must begin with https:// or http://"),
        ("ftp://host/v1", "must begin with https:// or http://"),
        ("https:/host/v1", "must begin with"),
        ("https://", "must name a host"),
        ("http://:8000/v1", "must name a host"),
        ("http://[::1/v1", "must name a host"),
        ("https://host/v1?api-version=1", "no query"),
        ("https://host/v1?", "no query"),
        ("https://host/v1#top", "no fragment"),
        ("https://host:eighty/v1", "port"),
        ("https://host:0/v1", "port"),
        ("https://host:65536/v1", "port"),
        ("https://ho st/v1", "without spaces"),
        ("https://host\n/v1", "without spaces"),
        ("https:\\\\host", "without spaces"),
    ],
)
@pytest.mark.parametrize("dialect", get_args(Dialect))
def test_what_is_no_base_url_is_rejected_by_its_rule(dialect: Dialect, written: str, rule: str) -> None:
    with pytest.raises(ValueError, match="must ") as rejected:
        base_url(written, dialect)

    assert rule in str(rejected.value)


@given(
    st.sampled_from(get_args(Dialect)),
    st.sampled_from(["http", "https", "HTTP"]),
    st.sampled_from(["host", "HOST", "localhost", "[::1]", "openrouter.ai", "api.perplexity.ai", "u:p@h"]),
    st.sampled_from(["", ":80", ":443", ":8000"]),
    st.lists(st.sampled_from(["/", "/v1", "/api", "/x", *(e for all_ in ENDPOINTS.values() for e in all_)])),
)
def test_the_form_of_an_address_stays(
    dialect: Dialect, scheme: str, host: str, port: str, path: list[str]
) -> None:
    once = base_url(f"{scheme}://{host}{port}{''.join(path)}", dialect)

    assert base_url(once, dialect) == once
    assert not once.endswith("/")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "127.8.8.8", "[::1]", "::1"])
def test_loopback_hosts(host: str) -> None:
    assert is_loopback_host(host)


@pytest.mark.parametrize("host", ["127.evil.example", "localhost.evil.example", "10.0.0.1", "", "0.0.0.0"])
def test_other_hosts_are_not_loopback(host: str) -> None:
    assert not is_loopback_host(host)


def test_the_parts_of_a_url_are_bare() -> None:
    assert http_url("HTTP://QDRANT:6334//dash/").geturl() == "http://qdrant:6334/dash"
