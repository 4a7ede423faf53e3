"""Which values a key takes: to its bounds and no further, in its form and in no other."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.config import Config, ConfigError, ConfigInvalid, decode
from protocol.config.forms import FORMS
from protocol.config.schema import allowed as in_words
from protocol.config.schema import settings
from protocol.secrets import Secret

YEAR = 365 * 86400
MILLION = 1_000_000
TINY = 1e-9


def outcome(path: str, value: object) -> Config | ConfigError:
    """What comes of this value at that key, which is one of a table or of an array's first."""
    section, _, key = path.partition(".")
    account: dict[str, Any] = {"name": "a", "token": "t"}
    provider: dict[str, Any] = {"name": "p", "base_url": "https://p.test"}
    document: dict[str, Any] = {"access": {"keys": True}}
    if section == "account":
        if key in ("api_key", "credentials"):
            del account["token"]
        document["account"] = [{**account, key: value}]
    elif section == "provider":
        document["provider"] = [{**provider, key: value}]
    else:
        document.setdefault(section, {})[key] = value
    try:
        return decode(document, variables={}, source="f")
    except ConfigInvalid as invalid:
        (error,) = invalid.errors
        return error


def taken(path: str, value: object) -> Any:
    """The value as the program uses it."""
    config = outcome(path, value)
    assert isinstance(config, Config), config
    section, _, key = path.partition(".")
    if section == "account":
        return getattr(config.accounts[0], key)
    if section == "provider":
        return getattr(config.providers[0], key)
    return getattr(getattr(config, section), key)


@pytest.mark.parametrize(
    ("path", "lowest", "too_low", "highest", "too_high"),
    [
        ("server.port", 0, -1, 65535, 65536),
        ("logs.maximum_bytes", 1, 0, 2**50, 2**50 + 1),
        ("routing.max_attempts", 0, -1, MILLION, MILLION + 1),
        ("upstream.max_connections", 1, 0, MILLION, MILLION + 1),
        ("account.priority", -MILLION, -MILLION - 1, MILLION, MILLION + 1),
        ("upstream.connect_timeout", TINY, 0, YEAR, YEAR + 1),
        ("server.drain_seconds", 0, -TINY, YEAR, YEAR + 1),
        ("redirect.hysteresis", 0, -TINY, 1 - TINY, 1),
    ],
)
def test_a_number_is_taken_to_its_bounds_and_no_further(
    path: str, lowest: float, too_low: float, highest: float, too_high: float
) -> None:
    assert taken(path, lowest) == lowest
    assert taken(path, highest) == highest
    for outside in (too_low, too_high):
        error = outcome(path, outside)
        assert isinstance(error, ConfigError)
        assert error.found == f"the number {outside}"


@pytest.mark.parametrize(("share", "right"), [(0, False), (TINY, True), (1, True), (1.001, False)])
def test_a_threshold_is_above_nothing_and_at_most_everything(share: float, right: bool) -> None:
    assert isinstance(outcome("redirect.at", {"5h": share}), Config) is right


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("server.port", "a whole number from 0 to 65535"),
        ("logs.maximum_bytes", "a whole number from 1 to 1125899906842624 (bytes)"),
        ("upstream.connect_timeout", "a number above 0 to 31536000 (seconds)"),
        ("server.drain_seconds", "a number from 0 to 31536000 (seconds)"),
        ("redirect.hysteresis", "a number from 0 below 1"),
        ("redirect.at", "a table, each value a number above 0 to 1"),
        ("server.express", "true or false"),
        ("logs.level", 'one of "debug", "error", "info", "warning"'),
        ("server.allowed_hosts", f"an array, each {FORMS['host'].allowed}"),
        ("account.models", f"an array of at least 1, each {FORMS['text'].allowed}"),
        ("cooldown.ladder", "an array, each a number above 0 to 31536000 (seconds)"),
        ("client.usage_file", f'{FORMS["path"].allowed}, or "", or "auto"'),
        ("client.direct_url", f'{FORMS["url"].allowed}, or ""'),
        ("account.credentials", FORMS["path"].allowed),
        ("account.api_key", FORMS["credential"].allowed),
        ("account.name", FORMS["name"].allowed),
        ("oauth.client_id", FORMS["printable"].allowed),
        ("models.aliases", f"a table, each value {FORMS['text'].allowed}"),
        ("provider.headers", f"a table, each value {FORMS['header value'].allowed}"),
    ],
)
def test_whoever_writes_something_else_is_told_what_is_allowed(path: str, allowed: str) -> None:
    error = outcome(path, object())
    assert isinstance(error, ConfigError)
    assert error.allowed == allowed
    known = settings()
    assert path not in known or in_words(known[path]) == allowed


@pytest.mark.parametrize("path", ["account.base_url", "oauth.token_url", "server.tls_key",
                                  "client.usage_file", "logs.directory", "client.direct_url",
                                  "upstream.ca_file", "oauth.client_id"])  # fmt: skip
def test_what_is_optional_may_be_an_empty_text(path: str) -> None:
    assert taken(path, "") == ""


@pytest.mark.parametrize(
    ("path", "found"),
    [("upstream.base_url", "an empty text"), ("account.credentials", "an empty text"),
     ("account.api_key", "an empty text"), ("account.token", "an empty text"),
     ("probe.model", "an empty text"), ("account.name", "an empty text")],
)  # fmt: skip
def test_what_is_not_may_not(path: str, found: str) -> None:
    error = outcome(path, "")
    assert isinstance(error, ConfigError)
    assert error.found == found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("client.usage_file", "auto"),
        ("client.environment", {"A_1": "x y\n\tz"}),
        ("client.settings", ("~/x.json",)),
        ("routing.strategy", "hybrid"),
        ("routing.strategy", "least-used"),
        ("routing.strategy", "drain-soonest"),
        ("provider.dialect", "gemini"),
        ("provider.dialect", "anthropic"),
        ("account.follow", "always"),
        ("account.follow", "never"),
        ("client.auth_token", "never"),
        ("client.on_down", "stay"),
        ("access.subscription_use", "any"),
        ("logs.level", "debug"),
        ("logs.level", "warning"),
        ("logs.level", "error"),
        ("account.enabled", False),
    ],
)
def test_a_value_that_is_allowed_is_taken_as_it_is(path: str, value: object) -> None:
    assert taken(path, value) == value


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        ("server.allowed_origins", ["https://a.test/x"], "[0]"),
        ("server.allowed_hosts", ["a b"], "[0]"),
        ("upstream.ca_file", " ", ""),
        ("client.settings", ["a\nb"], "[0]"),
        ("client.usage_file", "\n", ""),
        ("client.environment", {"A-B": "1"}, ".A-B"),
        ("client.environment", {"A": "a\0b"}, ".A"),
        ("client.direct_url", "a.test", ""),
        ("oauth.token_url", "https://a.test/?x", ""),
        ("upstream.base_url", "ftp://a.test", ""),
        ("account.name", "A", ""),
        ("account.credentials", "\t", ""),
        ("account.models", ["a\tb"], "[0]"),
        ("provider.headers", {"Host": "x"}, ".Host"),
        ("provider.headers", {"a": " x"}, ".a"),
        ("provider.headers", {"a": ""}, ".a"),
        ("provider.dialect", "other", ""),
        ("routing.strategy", "other", ""),
    ],
)
def test_a_text_in_another_form_is_refused_at_its_place(
    path: str, value: object, place: str
) -> None:
    error = outcome(path, value)
    assert isinstance(error, ConfigError)
    section, _, key = path.partition(".")
    within = f"{section}[0]" if section in ("account", "provider") else section
    assert error.path == f"{within}.{key}{place}"


def test_a_header_of_a_provider_is_a_secret_and_may_have_spaces() -> None:
    assert taken("provider.headers", {"x-a": "two words"}) == {"x-a": Secret("two words")}
