"""What each provider is known to take, row by row (`wire.md` D2, D3)."""

from __future__ import annotations

import pytest

from protocol.translation.quirks import EFFORTS, PLAIN, quirks_for

OPENAI = quirks_for("https://api.openai.com/v1")
OPENROUTER = quirks_for("https://openrouter.ai/api/v1")
DEEPSEEK = quirks_for("https://api.deepseek.com")
GROQ = quirks_for("https://api.groq.com/openai/v1")
GOOGLE = quirks_for("https://generativelanguage.googleapis.com/v1beta/openai")


@pytest.mark.parametrize(
    "base_url",
    ["http://localhost:11434/v1", "http://127.0.0.1:8000", "https://api.openai.com.evil.test/v1", "", "x"],
)  # fmt: skip
def test_whoever_is_not_known_gets_the_plain_dialect(base_url: str) -> None:
    assert quirks_for(base_url) is PLAIN
    assert PLAIN.max_tokens_field == "max_tokens"
    assert PLAIN.effort("gpt-5", "high") is None
    assert PLAIN.output_limit("gpt-5") is None
    assert PLAIN.samples("gpt-5")
    assert (PLAIN.documents, PLAIN.reasoning_back, PLAIN.system) == (False, "", "first")


def test_a_host_is_known_on_any_port_and_in_any_case() -> None:
    assert quirks_for("https://API.OpenAI.com:443/v1") is OPENAI


def test_what_the_known_ones_take() -> None:
    assert OPENAI.max_tokens_field == "max_completion_tokens"
    assert [q.documents for q in (OPENAI, OPENROUTER, DEEPSEEK, GROQ, GOOGLE)] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert [q.system for q in (OPENAI, OPENROUTER, DEEPSEEK)] == ["anywhere", "first", "first"]
    assert DEEPSEEK.reasoning_back == "reasoning_content"
    assert GROQ.refused == {"logprobs", "logit_bias", "top_logprobs"}
    assert GROQ.least_temperature == 1e-8


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        ("gpt-4o-mini", 16_384), ("gpt-4.1", 32_768), ("gpt-4-turbo", 4_096), ("gpt-3.5-turbo", 4_096),
        ("o3", 100_000), ("gpt-5-mini", 128_000), ("gpt-6", None),
    ],
)  # fmt: skip
def test_the_longest_answer_of_openais_models(model: str, limit: int | None) -> None:
    assert OPENAI.output_limit(model) == limit


def test_the_longest_answer_of_others_models() -> None:
    assert DEEPSEEK.output_limit("deepseek-reasoner") == 65_536
    assert DEEPSEEK.output_limit("deepseek-chat") == 8_192
    assert GOOGLE.output_limit("gemini-3-pro") == 65_536
    assert OPENROUTER.output_limit("any") is None


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gpt-5", ["minimal", "minimal", "low", "medium", "high", "high", "high"]),
        ("o3", ["low", "low", "low", "medium", "high", "high", "high"]),
        ("gpt-4o", [None] * 7),
    ],
)
def test_effort_is_the_nearest_word_that_the_model_takes(
    model: str, words: list[str | None]
) -> None:
    assert EFFORTS == ("none", "minimal", "low", "medium", "high", "xhigh", "max")
    assert [OPENAI.effort(model, wanted) for wanted in EFFORTS] == words


def test_effort_elsewhere() -> None:
    assert OPENROUTER.effort("whoever/whatever", "max") == "high"
    assert GOOGLE.effort("gemini-3-pro", "medium") == "medium"
    assert GOOGLE.effort("gemma", "medium") is None
    assert DEEPSEEK.effort("deepseek-chat", "high") is None


@pytest.mark.parametrize(
    ("model", "samples"), [("gpt-5", False), ("o3-mini", False), ("gpt-4o", True), ("go", True)]
)
def test_which_of_openais_models_take_a_temperature(model: str, samples: bool) -> None:
    assert OPENAI.samples(model) == samples


def test_azure_serves_openais_models_under_names_of_its_customers() -> None:
    """gpt-5 refuses `max_tokens` there as well."""
    host = "name.openai.azure.com"
    assert quirks_for(f"https://{host}/openai/v1") is quirks_for("https://api.openai.com/v1")
    assert quirks_for(f"https://{host}.evil.example/v1") is PLAIN
