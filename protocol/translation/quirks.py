"""What is peculiar about a provider, as data: by the host of its base URL.

Every row is something that a provider was seen to refuse or to want (`wire.md` D2, D3). A provider
that is not here gets the plain dialect, with the least that any server takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeVar
from urllib.parse import urlsplit

import msgspec

from protocol.names import matches

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""OpenAI's words for reasoning effort, weakest first (`wire.md` B5)."""


class Quirks(msgspec.Struct, frozen=True):
    """How one provider departs from the plain dialect.

    `max_tokens_field`: what it calls the limit of an answer. `output_limits`: by model wildcard, the
    largest limit that it takes; a larger one is lowered. `efforts`: by model wildcard, the words for
    reasoning effort that it takes; no match: the field is left out. `fixed_sampling`: models that
    refuse temperature and top_p. `documents`: takes `file` parts. `reasoning_back`: an assistant's
    reasoning must come back under this name on turns with tool calls ("" : it must not). `refused`:
    fields of the request that it answers with 400. `least_temperature`: stands for 0.
    `system`: "first" when only the first message may be a system message. `nine_letter_ids`: of
    calls, it takes no others. `after_tools`: what the assistant says between a tool's result and the
    user's next words, where those may not follow each other. `stopless`: models that refuse stop
    sequences; the answer is ended at them here.
    """

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    output_limits: Mapping[str, int] = {}
    efforts: Mapping[str, tuple[str, ...]] = {}
    fixed_sampling: tuple[str, ...] = ()
    documents: bool = False
    reasoning_back: str = ""
    refused: frozenset[str] = frozenset()
    least_temperature: float = 0.0
    system: Literal["first", "anywhere"] = "first"
    nine_letter_ids: bool = False
    after_tools: str = ""
    stopless: tuple[str, ...] = ()

    def output_limit(self, model: str) -> int | None:
        """The largest `max_tokens` that `model` is known to take."""
        return _first(self.output_limits, model)

    def effort(self, model: str, wanted: str) -> str | None:
        """The nearest word for `wanted` that `model` takes, the weaker of two; None: none."""
        accepted = _first(self.efforts, model)
        if not accepted:
            return None
        rank = EFFORTS.index(wanted)
        return min(
            accepted, key=lambda word: (abs(EFFORTS.index(word) - rank), EFFORTS.index(word))
        )

    def samples(self, model: str) -> bool:
        """Whether `model` takes temperature and top_p."""
        return not any(matches(pattern, model) for pattern in self.fixed_sampling)

    def stops(self, model: str) -> bool:
        """Whether `model` takes stop sequences."""
        return not any(matches(pattern, model) for pattern in self.stopless)


PLAIN = Quirks()

_OPENAI = Quirks(
    max_tokens_field="max_completion_tokens",
    output_limits={
        "gpt-4o*": 16_384,
        "gpt-4.1*": 32_768,
        "gpt-4-*": 4_096,
        "gpt-3.5*": 4_096,
        "o*": 100_000,
        "gpt-5*": 128_000,
    },
    efforts={
        "gpt-5*": ("minimal", "low", "medium", "high"),
        "o*": ("low", "medium", "high"),
    },
    fixed_sampling=("gpt-5*", "o*"),
    documents=True,
    system="anywhere",
    stopless=("gpt-5*", "o*"),
)

_BY_HOST: Mapping[str, Quirks] = {
    "api.openai.com": _OPENAI,
    "openrouter.ai": Quirks(efforts={"*": ("low", "medium", "high")}, documents=True),
    "api.deepseek.com": Quirks(
        output_limits={"deepseek-reasoner*": 65_536, "*": 8_192},
        reasoning_back="reasoning_content",
    ),
    "api.groq.com": Quirks(
        refused=frozenset({"logprobs", "logit_bias", "top_logprobs"}),
        least_temperature=1e-8,
    ),
    "api.mistral.ai": Quirks(nine_letter_ids=True, after_tools="OK."),
    "generativelanguage.googleapis.com": Quirks(
        efforts={"gemini-*": ("low", "medium", "high")}, output_limits={"*": 65_536}
    ),
}


_AZURE = ".openai.azure.com"
"""OpenAI's own models, below a name of each customer's."""


def quirks_for(base_url: str) -> Quirks:
    """Of the provider at `base_url`."""
    host = urlsplit(base_url).hostname or ""
    if host.endswith(_AZURE):
        return _OPENAI
    return _BY_HOST.get(host, PLAIN)


T = TypeVar("T")


def _first(table: Mapping[str, T], model: str) -> T | None:
    return next((value for pattern, value in table.items() if matches(pattern, model)), None)
