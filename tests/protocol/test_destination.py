"""Where a request goes: alias, unwrap, route, redirect, accounts, fallback (`interface.md` rule 12)."""

from __future__ import annotations

import msgspec
import pytest

from protocol.config.model import Config, Fallback, Models, Provider, Redirect, Route
from protocol.destination import Destination, destinations, substituted

PROVIDERS = (
    Provider(name="openai", base_url="https://api.openai.com/v1"),
    Provider(name="local", base_url="http://localhost:11434/v1"),
)
CONFIG = Config(
    providers=PROVIDERS,
    fallbacks=(Fallback("openai", "gpt-5"), Fallback("local", "qwen")),
    routes=(
        Route(match="gpt-*", provider="openai"),
        Route(match="fast", provider="local", model="qwen"),
        Route(match="claude-haiku-*", accounts=True),
    ),
    redirect=Redirect(provider="openai", opus="gpt-5", haiku=""),
    models=Models(aliases={"mine": "claude-opus-5-5", "cheap": "gpt-5-mini"}),
)
FALLBACKS = (
    Destination("openai", "gpt-5", "fallback"),
    Destination("local", "qwen", "fallback"),
)


def of(
    asked: str | None, *, redirected: bool = False, listed: dict[str, str] | None = None
) -> tuple[Destination, ...]:
    return destinations(CONFIG, asked, redirected=redirected, listed=listed or {})


def test_a_claude_model_goes_to_the_accounts_and_then_to_the_fallbacks_in_order() -> None:
    assert of("claude-opus-5-5") == (
        Destination("", "claude-opus-5-5", "accounts"),
        *FALLBACKS,
    )


def test_a_body_that_cannot_be_read_goes_to_anthropic_alone() -> None:
    assert of(None) == (Destination("", "", "accounts"),)


def test_the_first_route_that_matches_decides_before_the_accounts() -> None:
    assert of("gpt-5") == (Destination("openai", "gpt-5", "route"),)
    assert of("fast") == (Destination("local", "qwen", "route"),)


def test_a_route_may_name_a_model_with_its_long_suffix_or_without() -> None:
    long = Route(match="claude-opus-5-5[1m]", provider="local", model="qwen-long")
    config = msgspec.structs.replace(CONFIG, routes=(*CONFIG.routes, long))
    for asked, model in (("fast[1m]", "qwen"), ("claude-opus-5-5[1m]", "qwen-long")):
        found = destinations(config, asked, redirected=False, listed={})
        assert found == (Destination("local", model, "route"),)


def test_a_route_to_the_accounts_may_ask_for_another_model() -> None:
    config = Config(routes=(Route(match="big", accounts=True, model="claude-opus-5-5"),))
    (found,) = destinations(config, "big", redirected=False, listed={})
    assert found == Destination("", "claude-opus-5-5", "accounts")
    assert found.accounts
    assert not FALLBACKS[0].accounts


def test_a_wrapped_name_is_unwrapped_first() -> None:
    assert of("claude-supervisor-gpt-5") == (Destination("openai", "gpt-5", "route"),)


def test_an_alias_is_resolved_before_everything() -> None:
    assert of("mine")[0] == Destination("", "claude-opus-5-5", "accounts")
    assert of("cheap") == (Destination("openai", "gpt-5-mini", "route"),)


def test_a_foreign_model_on_the_list_goes_to_whoever_lists_it() -> None:
    assert of("llama-4", listed={"llama-4": "local"}) == (
        Destination("local", "llama-4", "listed"),
    )


def test_a_claude_model_is_never_anybody_elses_because_they_list_it() -> None:
    assert of("claude-opus-5-5", listed={"claude-opus-5-5": "local"})[0].accounts


def test_a_name_that_nobody_lists_is_anthropic_s_to_refuse() -> None:
    assert of("no-such-model")[0] == Destination("", "no-such-model", "accounts")


def test_the_long_suffix_is_removed_for_others_and_left_alone_for_anthropic() -> None:
    assert of("gpt-5[1m]") == (Destination("openai", "gpt-5", "route"),)
    assert of("claude-opus-5-5[1m]")[0].model == "claude-opus-5-5[1m]"


def test_a_redirect_comes_first_and_the_accounts_stay_behind_it() -> None:
    assert of("claude-opus-5-5", redirected=True) == (
        Destination("openai", "gpt-5", "redirect"),
        Destination("", "claude-opus-5-5", "accounts"),
        *FALLBACKS,
    )


@pytest.mark.parametrize("tier", ["opus", "sonnet", "haiku"])
def test_each_tier_has_its_own_substitute(tier: str) -> None:
    redirect = Redirect(provider="openai", opus="for-opus", sonnet="for-sonnet", haiku="for-haiku")
    assert substituted(redirect, f"claude-{tier}-5-5") == f"for-{tier}"
    assert substituted(Redirect(provider="openai"), f"claude-{tier}-5-5") == f"claude-{tier}-5-5"


@pytest.mark.parametrize("model", ["claude-sonnet-5-5", "claude-fable-5"])
def test_a_tier_without_a_substitute_keeps_its_name(model: str) -> None:
    assert of(model, redirected=True)[0] == Destination("openai", model, "redirect")


def test_a_route_to_the_accounts_is_never_redirected() -> None:
    assert of("claude-haiku-5-5", redirected=True)[0] == Destination(
        "", "claude-haiku-5-5", "accounts"
    )


def test_what_is_no_claude_model_is_not_redirected() -> None:
    assert of("other", redirected=True)[0].reason == "accounts"
