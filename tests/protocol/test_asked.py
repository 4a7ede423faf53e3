"""Model families and betas, as limits count them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.asked import (
    Asked,
    asked,
    betas_of,
    model_family,
    wants_beta,
)
from protocol.request import Headers, Route


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("claude-opus-5-5", "opus"),
        ("claude-3-5-sonnet-20241022", "sonnet"),
        ("claude-sonnet-5-5[1m]", "sonnet"),
        ("us.anthropic.claude-haiku-4-5-v1:0", "haiku"),
        ("CLAUDE-FABLE-5-2", "fable"),
        ("claude-mythos-1", "mythos"),
        ("sonnet", "sonnet"),
        ("gpt-5", "gpt-5"),
        ("claude-opusplan", "claude-opusplan"),
        ("", ""),
    ],
)
def test_the_family_is_a_word_of_the_name_or_else_the_name(model: str, family: str) -> None:
    assert model_family(model) == family


@given(st.text())
def test_a_family_is_short_and_its_own_family(model: str) -> None:
    family = model_family(model)
    assert len(model_family(model * 1000)) <= 160, "lower case may be longer"
    if family in ("opus", "sonnet", "haiku", "fable", "mythos"):
        assert model_family(family) == family


def test_of_a_name_that_is_no_familys_eighty_characters_are_kept() -> None:
    assert model_family("M" * 100) == "m" * 80
    assert model_family("m" * 76 + "-opus") == "m" * 76 + "-opu"


def test_betas_are_read_from_every_header_and_every_comma() -> None:
    headers: Headers = (
        (b"Anthropic-Beta", b"a-1, context-1m-2025-08-07,,"),
        (b"other", b"c"),
        (b"anthropic-veto", b"d"),
        (b"anthropic-beta", b" b "),
    )
    assert betas_of(headers) == ("a-1", "context-1m-2025-08-07", "b")
    assert betas_of(()) == ()


@pytest.mark.parametrize(
    ("betas", "wanted"),
    [
        (("context-1m-2025-08-07",), True),
        (("a", "context-1m"), True),
        (("context-1madness",), False),
        (("context-2m-2025-08-07",), False),
        ((), False),
    ],
)
def test_a_beta_is_wanted_whatever_its_date(betas: tuple[str, ...], wanted: bool) -> None:
    assert wants_beta(betas, "context-1m") is wanted


def test_only_requests_for_tokens_count_against_limits() -> None:
    spending = {route for route in Route if asked(route, "m", ()).spends}
    assert spending == {Route.MESSAGES, Route.CHAT_COMPLETIONS}
    assert asked(Route.MESSAGES, "m", ((b"anthropic-beta", b"b"),)) == Asked("m", ("b",))
