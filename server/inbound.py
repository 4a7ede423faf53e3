"""A request as those see it who serve it elsewhere than at an account."""

from __future__ import annotations

import msgspec

from protocol.errors import Problem
from server.exchange import Exchange


class Inbound(msgspec.Struct, frozen=True):
    """The request as Anthropic's dialect has it, and, where it came in OpenAI's, as it came.

    `refusal`: it cannot be told in Anthropic's dialect, and why.
    """

    exchange: Exchange
    body: bytes
    raw: tuple[Exchange, bytes] | None = None
    refusal: Problem | None = None
