"""How long an answer may be asked for, as far as a provider's refusal says it.

Claude Code asks for up to 128,000 tokens, whatever the model. Most servers take less, and refuse a
request for more, each in words of its own; others want what is asked for to fit into the context
beside the conversation. The wordings are those of their users' bug reports.
"""

from __future__ import annotations

import re

import msgspec

LEAST_ROOM = 4_096
"""Tokens. Where a context has less room than that, the conversation wants to be compacted: a client
learns this from the refusal, and not from answers that are cut."""

_MARGIN = 256
"""Tokens left free in a context: several servers count the conversation only roughly."""

_FIELD = r"(?:max_tokens|max_completion_tokens|max_output_tokens|maxOutputTokens)"
_GOES_ON = r"\W(?:[^.,;]|\.(?!\s)){0,80}?"
"""In the same sentence; another one may be about another field."""
_TOKENS = r"([0-9]{1,9})(?![0-9]|[.,'_ ][0-9])"
"""A whole number: of one with separators its beginning would be taken for a tiny limit."""

_LASTING = (
    # OpenAI
    rf"{_FIELD} is too large: [0-9]+\. This model supports at most {_TOKENS} completion tokens",
    # DeepSeek; DashScope
    rf"range of {_FIELD} (?:is|should be) \[[0-9]+, ?{_TOKENS}\]",
    # Groq, NVIDIA
    rf"{_FIELD}{_GOES_ON}must be less than or equal to \W?{_TOKENS}",
    # OpenAI's Responses, Volcengine
    rf"{_FIELD}{_GOES_ON}integer above maximum value.{{1,40}}?<= ?{_TOKENS}",
    # Anthropic's own, of who speaks another dialect
    rf"{_FIELD}: [0-9]+ > {_TOKENS}, which is the maximum",
)
_EXCLUSIVE = (
    # Gemini, Vertex
    rf"{_FIELD} value of [0-9]+ but the supported range is .{{1,40}} to {_TOKENS} \(exclusive\)",
)
_CONTEXT = r"maximum context length (?:is|of) ([0-9]{1,9}) tokens"
_BESIDE_INPUT = (
    # vLLM
    rf"{_CONTEXT} and your request has {_TOKENS} input tokens",
    # SGLang
    rf"{_CONTEXT}.{{1,80}}?: {_TOKENS} tokens from the input messages",
)
_BESIDE_SUM = (
    # OpenAI, DeepSeek, older vLLM: in the completion; OpenRouter: in the output
    (
        rf"{_CONTEXT}.{{1,40}}? requested (?:about )?{_TOKENS} tokens "
        rf"\([^)]*?{_TOKENS} in the (?:completion|output)\)"
    ),
)


class OutputLimit(msgspec.Struct, frozen=True):
    """`tokens`: the most that may be asked for. `lasting`: of the model, whatever it is asked;
    else of this conversation alone."""

    tokens: int
    lasting: bool


def output_limit(message: str) -> OutputLimit | None:
    """What a refusal says of it; None where it is about something else, or nothing would fit."""
    for pattern in _LASTING:
        if found := _search(pattern, message):
            return _if_any(OutputLimit(found[0], lasting=True))
    for pattern in _EXCLUSIVE:
        if found := _search(pattern, message):
            return _if_any(OutputLimit(found[0] - 1, lasting=True))
    for pattern in _BESIDE_INPUT:
        if found := _search(pattern, message):
            context, taken = found
            return _room(context - taken)
    for pattern in _BESIDE_SUM:
        if found := _search(pattern, message):
            context, asked, answer = found
            return _room(context - (asked - answer))
    return None


def _search(pattern: str, message: str) -> list[int]:
    found = re.search(pattern, message, re.IGNORECASE | re.DOTALL)
    return [] if found is None else [int(number) for number in found.groups()]


def _if_any(limit: OutputLimit) -> OutputLimit | None:
    return limit if limit.tokens > 0 else None


def _room(tokens: int) -> OutputLimit | None:
    tokens -= _MARGIN
    return OutputLimit(tokens, lasting=False) if tokens >= LEAST_ROOM else None
