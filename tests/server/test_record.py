"""What the journal's line says of a request, at any moment of it."""

from __future__ import annotations

from protocol.peek import Peek
from protocol.request import RequestHead, Route
from protocol.usage import Usage, UsageMeter
from server.record import Record

AT = 1_790_000_000.25


def record(*headers: tuple[bytes, bytes], path: bytes = b"/v1/messages") -> Record:
    """A fresh record."""
    return Record(RequestHead("POST", path, headers), "req-1", Route.MESSAGES, AT)


async def test_a_request_that_never_got_anywhere_is_refused_and_the_rest_unknown(
    autojump_clock: object,
) -> None:
    """Unknown numbers are null."""
    line = record().line()
    assert (line.terminal, line.status, line.attempts) == ("refused", None, 0)
    assert line.at == "2026-09-21T14:13:20.250Z"
    assert line.ms_first_byte is None
    assert line.input_tokens is None
    assert line.served_model is None


async def test_session_agent_and_client_come_from_the_headers(autojump_clock: object) -> None:
    """They are the client's words, so control characters are taken out."""
    line = record(
        (b"X-Claude-Code-Session-Id", b"s-1"),
        (b"x-claude-code-agent-id", b"a-1"),
        (b"User-Agent", b"claude-cli/2\x1b[31m"),
    ).line()
    assert (line.session, line.agent) == ("s-1", "a-1")
    assert line.client is not None
    assert "\x1b" not in line.client


async def test_a_path_with_a_credential_in_it_is_masked(autojump_clock: object) -> None:
    """Whoever puts a key into a URL must not find it in our log."""
    head = RequestHead("GET", b"/v1/files/sk-ant-api03-abcdefghijk", ())
    line = Record(head, "req-1", Route.OTHER, AT).line()
    assert "abcdefghijk" not in line.path


async def test_the_served_model_is_told_once_somebody_serves(autojump_clock: object) -> None:
    """Until a route or an alias changes it, it is the one asked for."""
    made = record()
    made.asked = Peek("claude-x", stream=True)
    made.account = "work"
    made.ended("complete", 200)
    line = made.line()
    assert (line.model, line.served_model, line.stream) == ("claude-x", "claude-x", True)
    assert (line.account, line.status, line.terminal) == ("work", 200, "complete")


async def test_the_answer_says_which_model_served_and_what_it_cost(autojump_clock: object) -> None:
    """Its words go into a line, so they are made plain; what it does not tell is null."""
    made = record()
    made.asked = Peek("claude-x")
    made.account = "work"
    meter = UsageMeter(events=False)
    meter.feed(rb'{"model": "claude\u001b-y", "usage": {"input_tokens": 3, "output_tokens": 4}}')
    assert made.metered(meter) == Usage(3, 4)
    line = made.line()
    assert (line.model, line.served_model) == ("claude-x", "claude\ufffd-y")
    assert (line.input_tokens, line.output_tokens, line.cache_read_tokens) == (3, 4, None)
