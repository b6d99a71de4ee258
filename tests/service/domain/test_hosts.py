from __future__ import annotations

import pytest

from service.domain.hosts import (
    Origin,
    is_address,
    is_loopback,
    origin_of_url,
    parse_authority,
    parse_host,
    parse_origin,
    parse_setting,
)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[0:0:0:0:0:0:0:1]", "::1"),
        ("[::ffff:127.0.0.1]", "127.0.0.1"),
        ("[::FFFF:7F00:1]", "127.0.0.1"),
        ("LocalHost", "localhost"),
        ("localhost.", "localhost"),
        ("127.evil.example", "127.evil.example"),
        ("llm_router", "llm_router"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_a_host_has_one_spelling(text: str, host: str) -> None:
    assert parse_host(text) == host


NO_HOSTS = [
    "",
    ".",
    "a..b",
    "localhost..",
    ".localhost",
    "127.1",
    "127.0.0.1.1",
    "0177.0.0.1",
    "127.000.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "evil.0x",
    "١٢٧.0.0.1",
    "[127.0.0.1]",
    "[::1",
    "::1]",
    "[::1%eth0]",
    "[]",
    "user@localhost",
    "evil.example\\@localhost",
    "local host",
    "localhost\t",
    "localhost\n",
    "localhost/path",
    "localhost?",
    "localhost#",
    "localhost%2e",
    "localhost,evil.example",
    "bücher.example",
    "a" * 64,
    ".".join(["a" * 60] * 5),
    "*",
]


@pytest.mark.parametrize("text", NO_HOSTS)
def test_what_clients_read_in_different_ways_is_no_host(text: str) -> None:
    with pytest.raises(ValueError, match="must be a host name or an IP address"):
        parse_host(text)


@pytest.mark.parametrize("text", NO_HOSTS)
def test_no_url_and_no_authority_has_such_a_host(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # any message
        parse_authority(f"{text}:80")
    if "/" not in text and text != "localhost":
        with pytest.raises(ValueError):  # noqa: PT011
            origin_of_url(f"https://{text}:80/v1")


@pytest.mark.parametrize(
    ("text", "authority"),
    [
        ("localhost", ("localhost", None)),
        ("Localhost:8080", ("localhost", 8080)),
        ("[::1]", ("::1", None)),
        ("[::1]:8080", ("::1", 8080)),
        ("evil.example:65535", ("evil.example", 65535)),
    ],
)
def test_an_authority_is_a_host_and_a_port(text: str, authority: tuple[str, int | None]) -> None:
    assert parse_authority(text) == authority


@pytest.mark.parametrize(
    "text",
    [
        "localhost:",
        "localhost:65536",
        "localhost:-1",
        "localhost:+80",
        "localhost:8 0",
        "localhost:80:80",
        "localhost:٨٠",
        "::1",
        "[::1]8080",
        "me@localhost:80",
        "me:secret@localhost",
        ":80",
    ],
)
def test_anything_else_is_no_authority(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_authority(text)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://App.Example", "https://app.example"),
        ("https://app.example:443", "https://app.example"),
        ("http://app.example:443", "http://app.example:443"),
        ("http://[0::1]:8080", "http://[::1]:8080"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        ("tauri://localhost", "tauri://localhost"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(text: str, origin: str) -> None:
    assert str(parse_origin(text)) == origin


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "",
        "*",
        "app.example",
        "file://",
        "https://",
        "https:app.example",
        "https://app.example/",
        "https://app.example/path",
        "https://app.example?query",
        "https://me@app.example",
        "https://app.example https://evil.example",
        "https://[",
        "//app.example",
    ],
)
def test_anything_else_is_no_origin(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_origin(text)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://api.openai.com/v1", Origin("https", "api.openai.com", 443)),
        ("HTTPS://API.OpenAI.com.:443", Origin("https", "api.openai.com", 443)),
        ("http://127.0.0.1:11434/v1/", Origin("http", "127.0.0.1", 11434)),
    ],
)
def test_a_url_has_an_origin(url: str, origin: Origin) -> None:
    assert origin_of_url(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "ftp://api.openai.com",
        "api.openai.com/v1",
        "https:/api.openai.com",
        "https:///api.openai.com",
        "https://api.openai.com\\@evil.example",
        "https://api.openai.com\\.evil.example",
        "https://me:secret@api.openai.com",
        "https://evil.example#@api.openai.com",
        "https://evil.example?@api.openai.com",
        "https://api.openai.com/v1?key=1",
        "https://api.openai.com/v1#part",
        "https://api.openai.com/v 1",
        "https://api.openai.com/\t@evil.example",
        "https://api.open\tai.com",
        " https://api.openai.com",
        "https://api.openai.com/v1\n",
        "https://api.openai.com/ü",
    ],
)
def test_a_url_that_parsers_read_in_different_ways_has_none(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        origin_of_url(url)


@pytest.mark.parametrize("text", ["localhost", "127.0.0.1", "127.255.255.254", "::1", "[::1]", "LOCALHOST."])
def test_loopback_is_this_machine(text: str) -> None:
    assert is_loopback(parse_setting(text))


@pytest.mark.parametrize(
    "text",
    ["127.evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0", "::", "128.0.0.1"],
)
def test_everything_else_is_not(text: str) -> None:
    assert not is_loopback(parse_setting(text))


def test_a_name_is_no_address() -> None:
    assert [is_address(host) for host in ("10.0.0.1", "::2", "router", "127.evil.example")] == [
        True,
        True,
        False,
        False,
    ]
