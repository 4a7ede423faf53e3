"""What tokens cost: one model's tariff, and the sum for one request.

Prices are list prices in US dollars; what a subscription has paid already is not subtracted. A model
without a tariff has no cost: unknown is null, never zero.
"""

from __future__ import annotations

import msgspec

NO_COST = b'"cost_usd":null'
"""In an encoded line this is the field itself: in a text its quotes would be escaped."""

COST_DIGITS = 8
"""After the point; a token of the cheapest model costs a few hundred-millionths of a dollar."""


class Rate(msgspec.Struct, frozen=True):
    """Dollars per token. `steps` are (tokens, dollars) in ascending order: with more input tokens
    than that in a request, all of its tokens cost so much."""

    base: float
    steps: tuple[tuple[int, float], ...] = ()

    def at(self, input_tokens: int) -> float:
        """Dollars per token in a request of so many input tokens, cached ones included."""
        dollars = self.base
        for start, price in self.steps:
            if input_tokens > start:
                dollars = price
        return dollars


class Tariff(msgspec.Struct, frozen=True):
    """Of one model. Cached input is priced apart from input that was read anew."""

    input: Rate
    output: Rate
    cache_read: Rate
    cache_write: Rate


class Billed(msgspec.Struct, frozen=True):
    """The fields of a request's line that it is priced and counted by; others are skipped unread."""

    at: str
    model: str | None = None
    served_model: str | None = None
    account: str | None = None
    provider: str | None = None
    status: int | None = None
    attempts: int = 0
    terminal: str = "complete"
    ms_total: float = 0.0
    ms_first_byte: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cost_usd: float | None = None
    reason: str | None = None

    @property
    def counted(self) -> bool:
        """Whether the answer told what it cost in tokens."""
        return not (
            self.input_tokens is None
            and self.output_tokens is None
            and self.cache_read_tokens is None
            and self.cache_write_tokens is None
        )


_decoder = msgspec.json.Decoder(Billed)


def billed(line: bytes) -> Billed:
    """What is priced of a line that `protocol.request_line` encoded."""
    return _decoder.decode(line)


def cost(tariff: Tariff, tokens: Billed) -> float:
    """Dollars for a request of so many tokens."""
    read, written = tokens.cache_read_tokens or 0, tokens.cache_write_tokens or 0
    new, output = tokens.input_tokens or 0, tokens.output_tokens or 0
    size = new + read + written
    dollars = (
        new * tariff.input.at(size)
        + output * tariff.output.at(size)
        + read * tariff.cache_read.at(size)
        + written * tariff.cache_write.at(size)
    )
    return round(dollars, COST_DIGITS)


def with_cost(line: bytes, dollars: float | None) -> bytes:
    """The encoded line with its cost, which was null before."""
    if dollars is None:
        return line
    return line.replace(NO_COST, b'"cost_usd":' + msgspec.json.encode(dollars), 1)
