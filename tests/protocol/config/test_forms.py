"""The forms of texts: what passes, and as what the program gets it."""

from __future__ import annotations

import pytest

from protocol.config.forms import FORMS, FRAMING_HEADERS, is_loopback, is_utf8

LONGEST_LABELS = ["a", "a-b", "a_b", "0a", "a.b", "a-b.c_d.example", "_dmarc.example", "a.b."]


@pytest.mark.parametrize(
    ("form", "text", "used"),
    [
        ("printable", "", ""),
        ("printable", "a b", "a b"),
        ("printable", "a\tb", None),
        ("text", "a b", "a b"),
        ("text", "", None),
        ("text", "a\nb", None),
        ("free text", "", ""),
        ("free text", "a\nb\x1b", "a\nb\x1b"),
        ("free text", "a\0b", None),
        ("free text", "a\udcff", None),
        ("name", "a-b_c.9", "a-b_c.9"),
        ("name", "", None),
        ("name", "A", None),
        ("name", "a b", None),
        ("name", "a\n", None),
        ("name", "sk-ant-api03-abcdefghijkl", None),
        *(("host", host, host) for host in LONGEST_LABELS),
        ("host", "LocalHost", "localhost"),
        ("host", "127.0.0.1", "127.0.0.1"),
        ("host", "0:0:0:0:0:0:0:1", "::1"),
        ("host", "FE80::A", "fe80::a"),
        ("host", "1.2.3", None),
        ("host", "12", None),
        ("host", "-a", None),
        ("host", "a-", None),
        ("host", "a.-b", None),
        ("host", "a..b", None),
        ("host", "a b", None),
        ("host", "", None),
        ("origin", "https://A.example", "https://a.example"),
        ("origin", "chrome-extension://abc", "chrome-extension://abc"),
        ("origin", "http://localhost:3000", "http://localhost:3000"),
        ("origin", "http://localhost/", None),
        ("origin", "http://localhost:", None),
        ("origin", "null", None),
        ("url", "https://a.example/x/", "https://a.example/x"),
        ("url", "HTTP://a.example", "HTTP://a.example"),
        ("url", "http://[::1]:8080", "http://[::1]:8080"),
        ("url", "http://a:0", None),
        ("url", "http://a:65535", "http://a:65535"),
        ("url", "http://a:65536", None),
        ("url", "http://a:", None),
        ("url", "http://a#b", None),
        ("url", "http://a\\b", None),
        ("url", "http://a b", None),
        ("url", "http://\u00e4.example", None),
        ("url", "//a.example", None),
        ("url", "http:///x", None),
        ("path", "~/a b", "~/a b"),
        ("path", " ", None),
        ("path", "a\nb", None),
        ("variable", "_A9", "_A9"),
        ("variable", "9A", None),
        ("variable", "", None),
        ("header", "X-Team", "X-Team"),
        ("header", "x team", None),
        ("header", "x:team", None),
        ("header value", "a \t b", "a \t b"),
        ("header value", "a", "a"),
        ("header value", " a", None),
        ("header value", "a ", None),
        ("header value", "\u00e4", None),
        ("credential", "sk-!~", "sk-!~"),
        ("credential", "a b", None),
        ("credential", "", None),
    ],
)
def test_a_text_is_used_in_its_form_or_refused(form: str, text: str, used: str | None) -> None:
    assert FORMS[form].check(text) == used


@pytest.mark.parametrize(
    "name",
    ["Connection", "content-length", "Host", "keep-alive", "TE", "trailer", "Transfer-Encoding",
     "upgrade"],
)  # fmt: skip
def test_a_header_of_the_connection_is_none_to_be_configured(name: str) -> None:
    assert FORMS["header"].check(name) is None
    assert name.lower() in FORMS["header"].allowed
    assert len(FRAMING_HEADERS) == 8


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("localhost.", True),
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("::1", True),
        ("128.0.0.1", False),
        ("::", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_loopback_is_what_only_this_machine_can_reach(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_bytes_that_were_no_text_are_none() -> None:
    assert is_utf8("a\u20ac\U0001f600\ue000\ud7ff")
    assert not is_utf8("a\ud800")
    assert not is_utf8("\udfffa")
