"""Upstreams that answer with valid JSON of the wrong shape, or with bytes that are no text at all."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.sse import Event
from protocol.translation.from_gemini import GeminiStream
from protocol.translation.from_openai import OpenAIStream
from protocol.translation.provider_error import ProviderError
from protocol.translation.tool_names import ToolNames

NAMES = ToolNames(["Bash"])
NO_TEXT = Event("", b'{"choices": "\xb0"}')


@pytest.mark.parametrize("machine", [OpenAIStream, GeminiStream])
def test_a_chunk_that_is_no_text_is_an_error_like_one_that_is_no_json(machine: Any) -> None:
    stream = machine(NAMES, "msg_1", "m")
    with pytest.raises(ProviderError, match="no JSON"):
        stream.feed(NO_TEXT)
    begun = machine(NAMES, "msg_1", "m")
    begun.chunk({})
    (event,) = begun.feed(NO_TEXT)
    assert event["type"] == "error"
    assert begun.ended
