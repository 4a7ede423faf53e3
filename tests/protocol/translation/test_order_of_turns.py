"""Results stand right behind their calls in every target, whatever the client put between them."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.translation import to_gemini, to_openai
from protocol.translation.quirks import PLAIN, Quirks, quirks_for
from protocol.translation.read_anthropic import read_request
from protocol.translation.read_openai import read_request as read_openai
from protocol.translation.refusal import Untranslatable

OPENAI = quirks_for("https://api.openai.com/v1")


def use(*ids: str) -> dict[str, Any]:
    blocks = [{"type": "tool_use", "id": one, "name": "Bash", "input": {"of": one}} for one in ids]
    return {"role": "assistant", "content": blocks}


def result(*ids: str, more: str = "") -> dict[str, Any]:
    blocks: list[dict[str, Any]] = [
        {"type": "tool_result", "tool_use_id": one, "content": f"result {one}"} for one in ids
    ]
    words = [{"type": "text", "text": more}] if more else []
    return {"role": "user", "content": blocks + words}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def chat(messages: list[Any], quirks: Quirks = OPENAI) -> list[dict[str, Any]]:
    conversation = read_request({"model": "m", "messages": messages})
    found: list[dict[str, Any]] = to_openai.write_request(conversation, "gpt-5", quirks)["messages"]
    return found


def contents(messages: list[Any]) -> list[dict[str, Any]]:
    conversation = read_request({"model": "m", "messages": messages})
    found: list[dict[str, Any]] = to_gemini.write_request(conversation, "gemini-3-pro")["contents"]
    return found


BETWEEN = [user("go"), use("a"), system("Mind the gap."), result("a", more="and then?")]


def test_a_word_of_the_system_between_call_and_result_comes_after_it() -> None:
    assert [(one["role"], one["content"]) for one in chat(BETWEEN)] == [
        ("user", "go"),
        ("assistant", None),
        ("tool", "result a"),
        ("system", "Mind the gap."),
        ("user", "and then?"),
    ]
    *_, result_, told = chat(BETWEEN, PLAIN)
    assert (result_["role"], told["role"]) == ("tool", "user")
    assert told["content"] == ("<system-reminder>\nMind the gap.\n</system-reminder>\n\nand then?")


def test_the_same_for_gemini() -> None:
    *_, calls, answers = contents(BETWEEN)
    assert (calls["role"], answers["role"]) == ("model", "user")
    first, *rest = answers["parts"]
    assert first["functionResponse"]["response"] == {"output": "result a"}
    words = [part["text"] for part in rest]
    assert words == ["<system-reminder>\nMind the gap.\n</system-reminder>", "and then?"]


@pytest.mark.parametrize(
    "messages",
    [
        # Neighbours of one role are one turn: so Anthropic's own API takes them.
        [use("a", "b"), result("b", more="first"), result("a", more="second")],
        [use("a", "b"), result("a"), system("s"), result("b"), system("t")],
        [use("a", "b"), system("s"), user("first"), result("b", "a")],
        [use("a"), use("b"), result("b", "a")],
        [said("Well,"), use("a"), use("b"), system("s"), result("a"), result("b")],
    ],
)
def test_results_that_come_in_pieces_are_together_and_in_order(messages: list[Any]) -> None:
    for quirks in (OPENAI, PLAIN):
        found = chat([user("go"), *messages], quirks)
        roles = [one["role"] for one in found]
        at = roles.index("assistant")
        assert [one["id"] for one in found[at]["tool_calls"]] == ["a", "b"]
        assert [one.get("tool_call_id") for one in found[at + 1 : at + 3]] == ["a", "b"]
        assert "tool" not in roles[at + 3 :]
    _, calls, answers = contents([user("go"), *messages])[:3]
    assert [part["functionCall"]["args"]["of"] for part in calls["parts"][-2:]] == ["a", "b"]
    outputs = [part["functionResponse"]["response"]["output"] for part in answers["parts"][:2]]
    assert outputs == ["result a", "result b"]


@pytest.mark.parametrize(
    "messages",
    [
        [use("a"), system("s")],
        [use("a"), system("s"), said("Well.")],
        [use("a", "b"), result("a"), said("Well.")],
        [use("a"), use("a"), result("a")],
        [use("a"), result("a"), result("a")],
    ],
)
def test_a_call_without_its_one_result_is_refused_as_before(messages: list[Any]) -> None:
    with pytest.raises(Untranslatable):
        chat([user("go"), *messages])


# --- for any conversation


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Any that Anthropic's API takes, with words of the system strewn over it."""
    messages: list[dict[str, Any]] = [user("t0")]
    words = 1

    def fresh() -> str:
        nonlocal words
        words += 1
        return f"t{words - 1}"

    def strewn() -> None:
        messages.extend(system(fresh()) for _ in range(draw(st.integers(0, 2))))

    strewn()
    for turn in range(draw(st.integers(1, 4))):
        ids = [f"c{turn}_{place}" for place in range(draw(st.integers(0, 3)))]
        text = [{"type": "text", "text": fresh()}] if draw(st.booleans()) or not ids else []
        cut = draw(st.integers(0, len(ids)))
        blocks = text + use(*ids)["content"]
        cut += len(text)
        parts = [part for part in (blocks[:cut], blocks[cut:]) if part]
        messages += [{"role": "assistant", "content": part} for part in parts]
        strewn()
        order = draw(st.permutations(ids))
        cut = draw(st.integers(0, len(order)))
        for some in (order[:cut], order[cut:]):
            if some:
                messages.append(result(*some, more=fresh() if draw(st.booleans()) else ""))
                strewn()
        if not ids or draw(st.booleans()):
            messages.append(user(fresh()))
            strewn()
    return messages


def markers(document: object) -> list[str]:
    """The words of all turns, each of which is unlike the others."""
    text = msgspec.json.encode(document).decode().replace("\\n", " ")
    return sorted(re.findall(r"\bt[0-9]+\b|result c[0-9_]+", text))


@given(conversations(), st.sampled_from([OPENAI, PLAIN]))
def test_in_a_chat_each_call_is_followed_directly_by_its_results(
    messages: list[dict[str, Any]], quirks: Quirks
) -> None:
    found = chat(messages, quirks)
    for place, message in enumerate(found):
        ids = [call["id"] for call in message.get("tool_calls", ())]
        behind = found[place + 1 : place + 1 + len(ids)]
        assert [one.get("tool_call_id") for one in behind] == ids
    calls = sum(len(one.get("tool_calls", ())) for one in found)
    assert calls == sum(one["role"] == "tool" for one in found)
    assert markers(found) == markers(messages)


@given(conversations())
def test_with_gemini_each_call_is_followed_directly_by_its_results(
    messages: list[dict[str, Any]],
) -> None:
    found = contents(messages)
    roles = [one["role"] for one in found]
    assert all(one != other for one, other in itertools.pairwise(roles))
    for place, entry in enumerate(found):
        asked = [p["functionCall"]["args"]["of"] for p in entry["parts"] if "functionCall" in p]
        if asked:
            parts = found[place + 1]["parts"]
            told = [p["functionResponse"]["response"]["output"] for p in parts[: len(asked)]]
            assert told == [f"result {one}" for one in asked]
            assert not any("functionResponse" in part for part in parts[len(asked) :])
    assert markers(found) == markers(messages)


# --- the other way


def test_a_chats_results_come_first_in_the_users_turn() -> None:
    """So Anthropic demands it; servers that are less strict take other things between them."""
    call = {"id": "a", "type": "function", "function": {"name": "Bash", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "tool_calls": [call, {**call, "id": "b"}]},
        {"role": "tool", "tool_call_id": "a", "content": "A"},
        {"role": "system", "content": "Mind the gap."},
        {"role": "tool", "tool_call_id": "b", "content": "B"},
    ]
    *_, last = read_openai({"model": "m", "messages": messages})["messages"]
    assert [block["type"] for block in last["content"]] == ["tool_result", "tool_result", "text"]


def crowd(count: int) -> list[list[dict[str, Any]]]:
    """Conversations of that many neighbours; each is a request that fits into the body's limit."""
    ids = [f"c{number}" for number in range(count)]
    return [
        [user("go"), *({"role": "assistant", "content": "x"} for _ in ids)],
        [user("go"), use(*ids), result(*reversed(ids))],
        [user("go"), use(*ids), *(result(one) for one in ids)],
        [user("word " * 40) for _ in ids],
    ]


@pytest.mark.parametrize("which", range(4))
def test_very_many_neighbours_come_through_whole(which: int) -> None:
    """How long that takes is for the benchmark (`tests/bench/bench_translation.py`) to tell."""
    messages = crowd(1_000)[which]
    request = {"model": "m", "max_tokens": 1, "messages": messages}
    written = to_openai.write_request(read_request(request), "gpt-4o", OPENAI)["messages"]
    results = [one["tool_call_id"] for one in written if one["role"] == "tool"]
    calls = [call["id"] for one in written for call in one.get("tool_calls", ())]
    assert results == calls
    assert len(calls) in (0, 1_000)
    words = json.dumps([one["content"] for one in written if one.get("content")])
    assert (len(calls), words.count("x"), words.count("word")) in {
        (0, 1_000, 0),
        (1_000, 0, 0),
        (0, 0, 40_000),
    }


def test_results_alone_bring_no_turn_with_them() -> None:
    conversation = read_request({"model": "m", "messages": [user("go"), use("a"), result("a")]})
    assert [type(turn).__name__ for turn in conversation.turns] == [
        "UserTurn",
        "AssistantTurn",
        "UserTurn",
    ]


def test_neighbours_are_joined_by_an_empty_line_where_both_say_something() -> None:
    messages = [user("go"), said("one"), said("two"), user("on"), said("three"), use("a")]
    conversation = read_request({"model": "m", "messages": [*messages, result("a")]})
    told = [turn for turn in conversation.turns if type(turn).__name__ == "AssistantTurn"]
    assert ["".join(piece.text for piece in turn.said) for turn in told] == ["one\n\ntwo", "three"]


def test_who_says_nothing_has_had_a_turn_all_the_same() -> None:
    messages = [user("go"), said("one"), {"role": "user", "content": []}, said("two")]
    conversation = read_request({"model": "m", "messages": messages})
    assert len(conversation.turns) == 4
