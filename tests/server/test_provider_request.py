"""What goes to a provider: the address, the headers, and nothing of the client."""

from __future__ import annotations

import pytest

from protocol.config.model import Dialect, Provider
from protocol.secrets import Secret
from server.provider_request import (
    anthropic_target,
    gemini_target,
    headers_for,
    openai_target,
)


def provider(base_url: str, dialect: Dialect = "openai", **more: object) -> Provider:
    return Provider("p", base_url, dialect, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("base_url", "target"),
    [
        ("https://api.openai.com/v1", b"/chat/completions"),
        ("https://api.deepseek.com", b"/chat/completions"),
        ("https://host.test/odd/v2/chat/completions", b""),
    ],
)
def test_a_base_url_may_name_the_whole_path(base_url: str, target: bytes) -> None:
    assert openai_target(provider(base_url)) == target


@pytest.mark.parametrize(
    ("base_url", "target"),
    [
        ("https://api.deepseek.com/anthropic", b"/v1/messages"),
        ("https://openrouter.ai/api/v1", b"/messages"),
        ("http://localhost:11434", b"/v1/messages"),
        ("http://host.test/v1/messages", b""),
    ],
)
def test_the_version_of_the_messages_api_is_there_once(base_url: str, target: bytes) -> None:
    assert anthropic_target(provider(base_url, "anthropic"), "/messages") == target


@pytest.mark.parametrize(
    ("base_url", "model", "target"),
    [
        ("https://g.test", "gemini-3-pro", b"/v1beta/models/gemini-3-pro:generateContent"),
        ("https://g.test/v1", "models/gemini-3-pro", b"/models/gemini-3-pro:generateContent"),
        ("https://g.test/v1", "../x?y", b"/models/..%2Fx%3Fy:generateContent"),
    ],
)
def test_a_model_of_gemini_is_in_the_address(base_url: str, model: str, target: bytes) -> None:
    assert gemini_target(provider(base_url, "gemini"), model, "generateContent") == target


@pytest.mark.parametrize(
    ("dialect", "name", "value"),
    [
        ("openai", b"authorization", b"Bearer the-key"),
        ("gemini", b"x-goog-api-key", b"the-key"),
        ("anthropic", b"x-api-key", b"the-key"),
    ],
)
def test_the_key_is_where_the_dialect_has_it(dialect: Dialect, name: bytes, value: bytes) -> None:
    headers = dict(headers_for(provider("http://h", dialect, api_key=Secret("the-key"))))
    assert headers[name] == value
    assert (b"anthropic-version" in headers) == (dialect == "anthropic")
    assert [v for v in headers.values() if b"the-key" in v] == [value]


def test_without_a_key_none_is_sent() -> None:
    assert b"authorization" not in dict(headers_for(provider("http://h")))


def test_a_configured_header_takes_the_place_of_ours() -> None:
    own = {"Authorization": Secret("Basic abc"), "X-Title": Secret("me")}
    headers = headers_for(provider("http://h", api_key=Secret("k"), headers=own))
    assert [value for name, value in headers if name == b"authorization"] == [b"Basic abc"]
    assert dict(headers)[b"x-title"] == b"me"
