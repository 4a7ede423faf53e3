"""Answers are data that can be changed into other answers."""

from __future__ import annotations

import pytest

from server.scripted import Answer, Cut, Pause, Send, Stall, paced, text_message, text_stream


def test_headers_are_found_in_any_case_and_replaced_not_repeated() -> None:
    answer = Answer(headers=(("Retry-After", "1"), ("x", "y"))).with_headers({"retry-after": "2"})
    assert answer.header("RETRY-AFTER") == "2"
    assert answer.headers == (("x", "y"), ("retry-after", "2"))


def test_several_headers_of_one_name_can_be_added() -> None:
    answer = Answer().with_headers((("set-cookie", "a"), ("set-cookie", "b")))
    assert [value for _, value in answer.headers] == ["a", "b"]


@pytest.mark.parametrize("sends", [0, 1, 3])
def test_an_interrupted_stream_keeps_that_many_events_and_is_cut(sends: int) -> None:
    whole = [step for step in text_stream("Hello", pause=1).steps() if isinstance(step, Send)]
    steps = text_stream("Hello", pause=1).interrupted(sends).steps()
    assert [step for step in steps if isinstance(step, Send)] == whole[:sends]
    assert steps[-1] == Cut()


def test_an_interruption_can_be_something_else_than_a_cut() -> None:
    assert text_stream("Hello").interrupted(1, Pause(2), Stall()).steps()[1:] == (Pause(2), Stall())


def test_an_interrupted_message_still_promises_its_whole_length() -> None:
    whole = text_message("Hello")
    cut = whole.interrupted(0)
    assert cut.header("content-length") == str(len(whole.body))
    assert cut.whole_body() == b""


def test_delays_add_up() -> None:
    assert Answer(delay=1).after(2).delay == 3


def test_pacing_puts_no_pause_before_the_first_part() -> None:
    assert paced([b"a", b"b"], 1) == (Send(b"a"), Pause(1), Send(b"b"))
