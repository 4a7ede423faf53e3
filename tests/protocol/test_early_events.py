"""What is decided before a stream is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.early_events import EarlyEvents
from protocol.peek import ErrorInfo
from server.scripted.answers import Send
from server.scripted.recorded import corpus_answers
from tests.kit import corpus

START = b'event: message_start\ndata: {"type":"message_start"}\n\n'
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
CONTENT = b'event: content_block_start\ndata: {"type":"content_block_start"}\n\n'
OVERLOADED = (
    b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"m"}}\n\n'
)
HELD = 64 * 1024
ERROR = ErrorInfo("overloaded_error", "m")


def decision(*chunks: bytes) -> tuple[bool, ErrorInfo | None]:
    """As the relay asks: no more is fed once it has settled."""
    early = EarlyEvents()
    for chunk in chunks:
        if not early.settled:
            early.feed(chunk)
    return early.settled, early.error


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (OVERLOADED, (True, ERROR)),
        (START + OVERLOADED, (True, ERROR)),
        (START + PING + b": comment\n\n" + PING + OVERLOADED, (True, ERROR)),
        (START + CONTENT + OVERLOADED, (True, None)),
        (CONTENT, (True, None)),
        (START, (False, None)),
        (START + PING, (False, None)),
        (b"", (False, None)),
        (b": keep-alive\n\n" * 100, (False, None)),
        (b"event: something_new\ndata: {}\n\n" + OVERLOADED, (True, None)),
        (b"event: error\ndata: nonsense\n\n", (True, ErrorInfo())),
        (b"event: error\n\n", (True, ErrorInfo())),
        (OVERLOADED[:-1], (False, None)),
        (START + CONTENT[:-1], (False, None)),
        (START + PING + PING + CONTENT + OVERLOADED, (True, None)),
        (START + PING + OVERLOADED + CONTENT, (True, ERROR)),
        (START[:-1] + b"event: content_block_start\n\n", (True, None)),
    ],
)
def test_an_error_counts_only_before_the_first_content(
    stream: bytes, expected: tuple[bool, ErrorInfo | None]
) -> None:
    assert decision(stream) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"id":"c","choices":[]}', (True, None)),
        (b"[DONE]", (True, None)),
        (
            b'{"error":{"type":"server_error","message":"m"}}',
            (True, ErrorInfo("server_error", "m")),
        ),
        (b'{"type":"error","error":{"type":"e"}}', (True, ErrorInfo("e", ""))),
        (b'{"type":"message_start"}', (False, None)),
        (b'{"error":null,"choices":[]}', (True, None)),
        (b"\xff", (True, None)),
        (b"[" * 3000, (True, None)),
    ],
)
def test_events_without_names_are_judged_by_what_they_say(
    data: bytes, expected: tuple[bool, ErrorInfo | None]
) -> None:
    assert decision(b"data: " + data + b"\n\n") == expected


def test_what_only_looks_like_a_begin_in_the_middle_of_an_error_is_none() -> None:
    assert decision(b"event: error\ndata: ", START + CONTENT) == (True, ErrorInfo())


def test_no_more_than_the_bound_is_held() -> None:
    held = b": " + b"x" * (HELD - 2)
    assert decision(held) == (False, None)
    assert decision(held + b"x") == (True, None)
    assert decision(held, b"x") == (True, None)


def test_an_error_past_the_bound_is_not_looked_at_however_it_arrives() -> None:
    stream = b": " + b"x" * HELD + b"\n\n" + OVERLOADED
    assert decision(stream) == (True, None)
    assert decision(stream[:1000], stream[1000:]) == (True, None)


def test_what_comes_after_the_decision_changes_nothing() -> None:
    early = EarlyEvents()
    early.feed(CONTENT)
    early.feed(OVERLOADED)
    assert early.error is None


def recorded_streams() -> list[tuple[str, bytes]]:
    streams: dict[bytes, str] = {}
    for name in corpus.names():
        for answer in corpus_answers(corpus.load(name)):
            stream = b"".join(part.data for part in answer.parts or () if isinstance(part, Send))
            if stream:
                streams.setdefault(stream, name)
    return [(name, stream) for stream, name in streams.items()]


@pytest.mark.promise("U5")
@pytest.mark.parametrize(
    "stream", [pytest.param(stream, id=name) for name, stream in recorded_streams()]
)
def test_a_recorded_stream_is_judged_alike_wherever_it_is_cut(stream: bytes) -> None:
    whole = decision(stream)
    head = stream[:4096]  # every decision of the corpus falls here
    assert decision(head) == whole
    for cut in range(len(head) + 1):
        assert decision(head[:cut], stream[cut:]) == whole
    assert decision(*(head[i : i + 1] for i in range(len(head)))) == whole


@pytest.mark.promise("U5")
@given(st.lists(st.binary() | st.sampled_from([START, PING, CONTENT, OVERLOADED, b"\n\n"])))
def test_the_decision_does_not_depend_on_the_cuts(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    assert decision(*chunks) == decision(whole)
    assert decision(*(whole[i : i + 1] for i in range(len(whole)))) == decision(whole)
