"""Which forward proxy the environment names for which upstream."""

from __future__ import annotations

import pytest

from protocol.proxies import Proxy, ProxyInvalid, proxy_for
from protocol.secrets import Secret

BY = "http://proxy.test:3128"
PROXY = Proxy("http", "proxy.test", 3128)


@pytest.mark.parametrize(
    ("scheme", "host", "environment", "expected"),
    [
        ("https", "api.test", {}, None),
        ("https", "api.test", {"HTTPS_PROXY": BY}, PROXY),
        ("https", "api.test", {"https_proxy": BY}, PROXY),
        ("https", "api.test", {"https_proxy": BY, "HTTPS_PROXY": "http://other.test"}, PROXY),
        ("https", "api.test", {"HTTP_PROXY": BY}, None),
        ("http", "api.test", {"HTTP_PROXY": BY}, PROXY),
        ("http", "api.test", {"ALL_PROXY": BY}, PROXY),
        ("https", "api.test", {"HTTPS_PROXY": "  "}, None),
        ("https", "api.test", {"HTTPS_PROXY": "proxy.test:3128"}, PROXY),
        (
            "https",
            "api.test",
            {"HTTPS_PROXY": "http://proxy.test"},
            Proxy("http", "proxy.test", 80),
        ),
        ("https", "api.test", {"HTTPS_PROXY": "https://p.test"}, Proxy("https", "p.test", 443)),
        ("https", "localhost", {"HTTPS_PROXY": BY}, None),
        ("http", "127.0.0.9", {"ALL_PROXY": BY}, None),
        ("http", "::1", {"ALL_PROXY": BY}, None),
    ],
)
def test_the_variable_of_the_scheme_counts_and_this_machine_is_exempt(
    scheme: str, host: str, environment: dict[str, str], expected: Proxy | None
) -> None:
    assert proxy_for(scheme, host, 443, environment) == expected


@pytest.mark.parametrize(
    ("no_proxy", "host", "exempt"),
    [
        ("*", "api.test", True),
        ("api.test", "api.test", True),
        ("API.test", "api.test", True),
        ("api.test", "eu.api.test", True),
        (".api.test", "eu.api.test", True),
        ("*.api.test", "eu.api.test", True),
        ("api.test", "notapi.test", False),
        ("other.test, api.test", "api.test", True),
        ("other.test api.test", "api.test", True),
        ("other.test,api.test", "api.test", True),
        ("api.test:443", "api.test", True),
        ("api.test:444", "api.test", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("fd00::/8", "fd12::1", True),
        ("fe80::e", "fe80::e", True),
        ("10.9.9.9/8", "10.1.2.3", True),
        ("[fd12::1]", "fd12::1", True),
        ("[fd12::1]:443", "fd12::1", True),
        ("[fd12::1]:444", "fd12::1", False),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("api.test:https", "api.test", False),
        ("api.test", "api.test.", True),
        ("1.2.3", "9.1.2.3", False),
        ("", "api.test", False),
        (",", "api.test", False),
    ],
)
def test_exceptions_are_names_addresses_and_networks(
    no_proxy: str, host: str, exempt: bool
) -> None:
    found = proxy_for("https", host, 443, {"HTTPS_PROXY": BY, "NO_PROXY": no_proxy})
    assert (found is None) == exempt


def test_exceptions_are_read_from_the_lower_case_name_first() -> None:
    named = {"HTTPS_PROXY": BY, "no_proxy": "api.test", "NO_PROXY": "other.test"}
    assert proxy_for("https", "api.test", 443, named) is None
    assert proxy_for("https", "other.test", 443, named) == PROXY


def test_a_login_may_have_no_password() -> None:
    found = proxy_for("https", "api.test", 443, {"HTTPS_PROXY": "http://me@proxy.test:1"})
    assert found is not None
    assert found.authorization == Secret("Basic bWU6")


def test_a_login_of_the_proxy_is_a_secret() -> None:
    found = proxy_for("https", "api.test", 443, {"HTTPS_PROXY": "http://me:pa%20ss@proxy.test:1"})
    assert found is not None
    assert found.authorization == Secret("Basic bWU6cGEgc3M=")
    assert "bWU6" not in repr(found)


@pytest.mark.parametrize(
    "value", ["socks5://proxy.test:1080", "http://:99", "http://a:b:c", "ftp://x"]
)
def test_what_cannot_be_used_is_named_and_never_quoted(value: str) -> None:
    """A login may stand in it."""
    with pytest.raises(ProxyInvalid, match="HTTPS_PROXY") as caught:
        proxy_for("https", "api.test", 443, {"HTTPS_PROXY": value})
    assert value not in str(caught.value)
