"""An Anthropic request is understood as its client meant it, or refused by name."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.translation.conversation import (
    AssistantTurn,
    Document,
    Image,
    SystemTurn,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    UserTurn,
)
from protocol.translation.read_anthropic import read_request
from protocol.translation.refusal import Untranslatable
from tests.kit import corpus


def request(**fields: Any) -> dict[str, Any]:
    return {
        "model": "claude-opus-5-5",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "hi"}],
        **fields,
    }


def said(*messages: dict[str, Any], **fields: Any) -> Any:
    return read_request(request(messages=list(messages), **fields)).turns


CALL = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a.txt"}


def test_a_string_is_one_block_of_text() -> None:
    assert said({"role": "user", "content": "hi"}) == (UserTurn(shown=(Text("hi"),)),)


def test_results_come_in_the_order_of_their_calls_and_before_what_the_user_says() -> None:
    second = {**CALL, "id": "toolu_2", "name": "Read"}
    turns = said(
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [CALL, second]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "and?"},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "two"},
                RESULT,
            ],
        },
    )
    assert turns[2] == UserTurn(
        (
            ToolResult("toolu_1", "Bash", (Text("a.txt"),)),
            ToolResult("toolu_2", "Read", (Text("two"),)),
        ),
        (Text("and?"),),
    )


def test_a_failed_tool_is_told_apart() -> None:
    turns = said(
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [CALL]},
        {"role": "user", "content": [{**RESULT, "is_error": True}]},
    )
    assert turns[2].results[0].is_error


def test_a_result_may_hold_images_documents_and_references_to_tools() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}
    pdf = {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "BB"},
    }
    loaded = {"type": "tool_reference", "tool_name": "mcp__a__b"}
    turns = said(
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [CALL]},
        {"role": "user", "content": [{**RESULT, "content": [image, pdf, loaded]}]},
    )
    assert turns[2].results[0].content == (
        Image("image/png", "AA"),
        Document("application/pdf", "BB"),
        Text("The tool mcp__a__b is loaded and can be called now."),
    )


def test_reasoning_is_kept_with_its_signature_and_redacted_reasoning_is_left_out() -> None:
    turns = said(
        {"role": "user", "content": "go"},
        {
            "role": "assistant",
            "content": [
                {"type": "redacted_thinking", "data": "opaque"},
                {"type": "thinking", "thinking": "hm", "signature": "sig"},
                {"type": "text", "text": "yes"},
            ],
        },
    )
    assert turns[1] == AssistantTurn((Thinking("hm", "sig"),), (Text("yes"),), ())


def test_a_call_keeps_the_state_that_another_provider_put_into_it() -> None:
    state = {"google": {"thought_signature": "x"}}
    turns = said(
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [{**CALL, "extra_content": state}]},
        {"role": "user", "content": [RESULT]},
    )
    assert turns[1].calls == (ToolCall("toolu_1", "Bash", {"command": "ls"}, state),)


def test_a_system_message_is_a_turn_of_its_own_and_its_effort_is_the_request_s() -> None:
    found = read_request(
        request(
            messages=[
                {"role": "user", "content": "hi"},
                {"role": "system", "content": "be brief", "output_config": {"effort": "low"}},
            ],
            output_config={"effort": "high"},
        )
    )
    assert found.turns[1] == SystemTurn("be brief")
    assert found.effort == "low"


def test_the_client_s_attribution_is_for_anthropic_alone() -> None:
    mark = "x-anthropic-billing-header: cc_version=2.1.329.f6c; cc_entrypoint=cli;"
    system = [{"type": "text", "text": mark}, {"type": "text", "text": "You are helpful."}]
    assert read_request(request(system=system)).system == "You are helpful."
    assert read_request(request(system=mark)).system == ""


def test_a_deferred_tool_is_shown_once_a_result_has_loaded_it() -> None:
    tools = [
        {"name": "Bash", "input_schema": {"type": "object"}},
        {"name": "Later", "input_schema": {"type": "object"}, "defer_loading": True},
    ]
    before = read_request(request(tools=tools))
    assert [tool.name for tool in before.tools] == ["Bash"]
    loaded = {**RESULT, "content": [{"type": "tool_reference", "tool_name": "Later"}]}
    after = read_request(
        request(
            tools=tools,
            messages=[
                {"role": "user", "content": "go"},
                {"role": "assistant", "content": [CALL]},
                {"role": "user", "content": [loaded]},
            ],
        )
    )
    assert [tool.name for tool in after.tools] == ["Bash", "Later"]


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        (None, None),
        ({"type": "adaptive"}, None),
        ({"type": "disabled"}, "none"),
        ({"type": "enabled", "budget_tokens": 2_000}, "low"),
        ({"type": "enabled", "budget_tokens": 10_000}, "medium"),
        ({"type": "enabled", "budget_tokens": 31_999}, "high"),
    ],
)
def test_a_thinking_budget_amounts_to_an_effort(thinking: Any, effort: str | None) -> None:
    assert read_request(request(thinking=thinking)).effort == effort


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"safeguards": [{"type": "dangerous_tool_use"}]},
            "safeguards: Extra inputs are not permitted",
        ),
        ({"container": "c_1"}, "container: containers run at Anthropic"),
        ({"mcp_servers": [{"url": "x"}]}, "mcp_servers: "),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            "tools[0]: web_search (web_search_20250305) is a tool that Anthropic defines",
        ),
        ({"tools": [{"name": "A"}, {"name": "A"}]}, "tools[1].name: 'A' is there twice"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type: must be auto, any, tool or none"),
        ({"max_tokens": "many"}, "max_tokens: must be a number, not a string"),
        ({"max_tokens": 1.5}, "max_tokens: must be a whole number"),
        ({"messages": "hi"}, "messages: must be an array, not a string"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role: must be user"),
        (
            {"messages": [{"role": "user", "content": [{"type": "hologram"}]}]},
            "messages[0].content[0]: a block of type 'hologram' cannot be translated",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "server_tool_use"}]}]},
            "messages[0].content[0]: a block of type 'server_tool_use' is made by a tool that runs",
        ),
        (
            {"messages": [{"role": "user", "content": [RESULT]}]},
            "messages[0].content[0]: tool_result 'toolu_1' has no tool_use before it",
        ),
        (
            {"messages": [{"role": "assistant", "content": [CALL]}]},
            "the end of messages: tool_use 'toolu_1' before it has no tool_result",
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "content": [CALL]},
                    {"role": "user", "content": "wait"},
                    {"role": "assistant", "content": "and"},
                ]
            },
            "messages[2]: tool_use 'toolu_1' before it has no tool_result",
        ),
        ({"tool_choice": 5}, "tool_choice: must be an object"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name: must be a string"),
        ({"stop_sequences": 5}, "stop_sequences: must be an array"),
        ({"output_config": 5}, "output_config: must be an object"),
        ({"output_config": {"format": 5}}, "output_config.format: must be an object"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort: must be one of low"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type: must be"),
    ],
)
def test_what_cannot_be_said_elsewhere_is_refused_by_its_place(
    fields: dict[str, Any], told: str
) -> None:
    with pytest.raises(Untranslatable) as refusal:
        read_request(request(**fields))
    assert refusal.value.problem.status == 400
    assert refusal.value.problem.message.startswith(told)


@pytest.mark.parametrize("name", corpus.names("claude-code"))
def test_whatever_claude_code_was_recorded_to_send_is_understood(name: str) -> None:
    fixture = corpus.load(name)
    seen = 0
    for exchange in range(len(fixture["exchanges"])):
        target = fixture["exchanges"][exchange]["request"]["target"]
        if "/v1/messages" not in target or "count_tokens" in target:
            continue
        body = json.loads(corpus.request_body(fixture, exchange) or b"{}")
        body.pop("safeguards", None)  # refused, on purpose, in the words that make it go
        if "messages" not in body:
            continue
        found = read_request(body)
        seen += 1
        assert found.turns
        assert "x-anthropic-billing-header" not in found.system
        assert "DeferredToolPlaceholder" not in [tool.name for tool in found.tools]
    if name not in ("claude-code/models_discovery", "claude-code/startup_preconnect"):
        assert seen


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "text", "role", "content", "source", "id", "name", "input", "tool_use_id"]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


FIELDS = (
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "stop_sequences",
    "max_tokens",
    "stream",
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, anything)))
def test_no_document_makes_it_fail_otherwise_than_by_a_refusal(document: dict[str, Any]) -> None:
    with contextlib.suppress(Untranslatable):
        assert read_request(document).model == document["model"]
