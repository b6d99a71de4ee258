from __future__ import annotations

import pytest

from service.domain.proxies import Proxies

PROXY = "http://proxy:3128"
URL = "https://api.example.com/v1"


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_the_usual_variables_name_the_proxy(name: str) -> None:
    assert Proxies.of({name: PROXY}).proxy_for(URL) == PROXY


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({"HTTP_PROXY": PROXY}, URL, None),
        ({"HTTP_PROXY": PROXY}, "http://example.com", PROXY),
        ({"HTTPS_PROXY": "http://a", "ALL_PROXY": "http://b"}, URL, "http://a"),
        ({"HTTPS_PROXY": "http://a", "ALL_PROXY": "http://b"}, "http://x", "http://b"),
        ({"https_proxy": "http://a", "HTTPS_PROXY": "http://b"}, URL, "http://a"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://b"}, URL, "http://b"),
        ({"HTTPS_PROXY": "proxy:3128"}, URL, PROXY),
        ({"HTTPS_PROXY": "http://me:p%40ss@proxy:3128"}, URL, "http://me:p%40ss@proxy:3128"),
        ({"HTTPS_PROXY": "HTTPS://proxy"}, URL, "HTTPS://proxy"),
        ({}, URL, None),
    ],
)
def test_each_scheme_has_its_proxy(environ: dict[str, str], url: str, proxy: str | None) -> None:
    assert Proxies.of(environ).proxy_for(url) == proxy


@pytest.mark.parametrize(
    "url", ["http://localhost:11434/v1", "http://127.0.0.1", "http://127.9.9.9:1", "http://[::1]:8000/v1"]
)
def test_loopback_is_called_directly(url: str) -> None:
    assert Proxies.of({"ALL_PROXY": PROXY}).proxy_for(url) is None


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("*", URL),
        ("example.com", URL),
        (".example.com", URL),
        ("*.example.com", URL),
        ("API.Example.COM", URL),
        ("api.example.com.", URL),
        ("other, example.com", URL),
        ("other example.com", URL),
        ("api.example.com:443", URL),
        ("example.com:8443", "https://api.example.com:8443/v1"),
        ("10.1.2.3", "http://10.1.2.3:8000/v1"),
        ("10.0.0.0/8", "http://10.1.2.3:8000/v1"),
        ("10.1.2.3/8", "http://10.1.2.3:8000/v1"),
        ("10.1.2.3:8000", "http://10.1.2.3:8000/v1"),
        ("fd00::/8", "http://[fd12::1]:8000/v1"),
        ("fd12::1", "http://[FD12::1]/v1"),
        ("[fd12::1]", "http://[fd12::1]/v1"),
        ("[fd12::1]:8000", "http://[fd12::1]:8000/v1"),
        ("qdrant", "http://qdrant:6334"),
    ],
)
def test_an_exception_is_called_directly(no_proxy: str, url: str) -> None:
    assert Proxies.of({"ALL_PROXY": PROXY, "NO_PROXY": no_proxy}).proxy_for(url) is None
    assert Proxies.of({"ALL_PROXY": PROXY, "no_proxy": no_proxy}).proxy_for(url) is None


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("ample.com", URL),
        ("example.com.evil", URL),
        ("api.example.com:80", URL),
        ("10.0.0.0/8", "http://11.1.2.3/v1"),
        ("10.0.0.0/8", "http://10.example.com/v1"),
        ("10.1.2.3:80", "http://10.1.2.3:8000/v1"),
        ("1.2.3", "http://10.1.2.3/v1"),
        ("[fd12::1]:80", "http://[fd12::1]:8000/v1"),
        (".", URL),
        ("", URL),
        (",,", URL),
    ],
)
def test_other_addresses_are_called_through_the_proxy(no_proxy: str, url: str) -> None:
    assert Proxies.of({"ALL_PROXY": PROXY, "NO_PROXY": no_proxy}).proxy_for(url) == PROXY


@pytest.mark.parametrize(
    "proxy", ["socks5://me:hush@proxy:1080", "socks4a://proxy", "ftp://proxy", "http://"]
)
def test_a_proxy_of_another_kind_is_rejected_by_the_name_of_its_variable(proxy: str) -> None:
    proxies = Proxies.of({"ALL_PROXY": proxy, "NO_PROXY": "example.org"})

    assert proxies.proxy_for("https://example.org") is None
    with pytest.raises(ValueError, match=r"^ALL_PROXY must be http://host:port") as rejected:
        proxies.proxy_for(URL)
    assert "hush" not in str(rejected.value)


def test_a_login_does_not_show() -> None:
    assert "hush" not in repr(Proxies.of({"ALL_PROXY": "http://me:hush@proxy"}))


def test_libraries_get_both_spellings_and_the_hosts_that_are_called_directly() -> None:
    proxies = Proxies.of({"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8,vllm:8000"})

    variables = dict(proxies.variables(["https://10.1.2.3/v1", "https://vllm:8000/v1", URL]))

    assert variables["HTTPS_PROXY"] == variables["https_proxy"] == PROXY
    assert "HTTP_PROXY" not in variables
    assert variables["NO_PROXY"] == variables["no_proxy"]
    assert variables["no_proxy"].split(",") == [
        "10.0.0.0/8",
        "vllm:8000",
        "localhost",
        "127.0.0.1",
        "::1",
        "10.1.2.3",
        "vllm",
    ]


def test_libraries_get_nothing_if_there_is_no_proxy() -> None:
    assert dict(Proxies.of({"NO_PROXY": "a"}).variables([URL])) == {}
