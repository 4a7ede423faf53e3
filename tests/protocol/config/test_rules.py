"""What is wrong between keys, and in which words its author hears of it."""

from __future__ import annotations

import tomllib

import pytest

from protocol.config.decode import decode
from protocol.config.errors import ConfigInvalid
from protocol.config.model import Config
from protocol.config.rules import broken_rules

ACCOUNT = '[[account]]\nname = "a"\n'
PROVIDER = '[[provider]]\nname = "p"\nbase_url = "https://p.test"\n'
OTHER = '[[provider]]\nname = "open"\nbase_url = "https://o.test"\n'


def mistakes(text: str) -> list[tuple[str, str, str, str]]:
    """Path, found, allowed and hint of each."""
    try:
        decode(tomllib.loads(text), variables={}, source="f")
    except ConfigInvalid as invalid:
        return [(one.path, one.found, one.allowed, one.hint) for one in invalid.errors]
    return []


ONE_CREDENTIAL = "exactly one of api_key, token, credentials"
EITHER = "either a provider or accounts = true"
GUARDED = (
    "a loopback address, or access.token or access.keys set",
    "anybody who reaches this address could spend your quota",
)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (ACCOUNT, ("account[0]", "none of them", ONE_CREDENTIAL, "")),
        (
            ACCOUNT + 'api_key = "k"\ncredentials = "c"',
            ("account[0]", "api_key and credentials", ONE_CREDENTIAL, ""),
        ),
        (
            (ACCOUNT + 'token = "t"\n') * 2,
            ("account[1].name", 'the name "a", which account[0] has', "a name of its own", ""),
        ),
        (
            PROVIDER + OTHER + PROVIDER,
            ("provider[2].name", 'the name "p", which provider[0] has', "a name of its own", ""),
        ),
        (
            PROVIDER + OTHER + '[[fallback]]\nprovider = "opn"\nmodel = "m"',
            ("fallback[0].provider", 'the unknown provider "opn"', "p, open",
             "did you mean open?"),
        ),
        (
            '[[route]]\nmatch = "x"\nprovider = "p"',
            ("route[0].provider", 'the unknown provider "p"',
             "the name of a [[provider]]; there is none", ""),
        ),
        (
            PROVIDER + '[redirect]\nprovider = "q"',
            ("redirect.provider", 'the unknown provider "q"', "p", ""),
        ),
        ('[[route]]\nmatch = "x"', ("route[0].provider", "neither", EITHER, "")),
        (
            PROVIDER + '[[route]]\nmatch = "x"\nprovider = "p"\naccounts = true',
            ("route[0].provider", "both", EITHER, ""),
        ),
        (
            '[server]\ntls_key = "k"',
            ("server.tls_certificate", "nothing", "tls_certificate and tls_key together, or neither",
             ""),
        ),
        (
            '[server]\ntls_certificate = "c"',
            ("server.tls_key", "nothing", "tls_certificate and tls_key together, or neither", ""),
        ),
        (
            '[server]\nhost = "0.0.0.0"',
            ("server.host", '"0.0.0.0" without [access] keys or token', *GUARDED),
        ),
    ],
)  # fmt: skip
def test_a_rule_that_is_broken_is_told_in_words(text: str, mistake: tuple[str, ...]) -> None:
    assert mistakes(text) == [mistake]


@pytest.mark.parametrize(
    "text",
    [
        ACCOUNT + 'api_key = "k"',
        ACCOUNT + 'token = "t"',
        ACCOUNT + 'credentials = "c"',
        PROVIDER + '[[route]]\nmatch = "x"\nprovider = "p"',
        '[[route]]\nmatch = "x"\naccounts = true',
        PROVIDER + '[redirect]\nprovider = "p"',
        '[server]\ntls_certificate = "c"\ntls_key = "k"',
        '[server]\nhost = "0.0.0.0"\n[access]\nkeys = true',
        '[server]\nhost = "0.0.0.0"\n[access]\ntoken = "t"',
    ],
)
def test_what_keeps_the_rules_is_right(text: str) -> None:
    assert mistakes(text) == []


def test_a_key_that_could_not_be_read_is_accused_of_nothing_more() -> None:
    """Its default stands in its place, and breaks rules that the author did not."""
    found = [path for path, *_ in mistakes('[server]\nhost = "0.0.0.0"\n[access]\ntoken = "a b"')]
    assert found == ["access.token"]
    assert [path for path, *_ in mistakes('[server]\nhost = "0 0"')] == ["server.host"]
    two = "[[account]]\nname = 'A'\ntoken = 't'\n" * 2
    assert [path for path, *_ in mistakes(two)] == ["account[0].name", "account[1].name"]


def test_the_defaults_break_no_rule() -> None:
    assert list(broken_rules(Config(), {}, ())) == []
