"""The smaller fields of a Messages request, one by one: read as they are meant, or refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.translation.conversation import Document, Image, Sampling, Text, ToolChoice
from protocol.translation.read_anthropic import DROPPED, read_request
from protocol.translation.refusal import Untranslatable
from tests.protocol.translation.test_read_anthropic import CALL, RESULT, request, said

PLAIN = read_request(request())


@pytest.mark.parametrize(
    "field",
    ["metadata", "user_profile_id", "workspace_id", "billing_policy", "fallback_credit_token",
     "context_management", "cache_control", "service_tier", "speed", "inference_geo", "diagnostics",
     "fallbacks", "betas", "compaction"],
)  # fmt: skip
def test_what_is_anthropics_own_business_is_left_out(field: str) -> None:
    assert field in DROPPED
    assert read_request(request(**{field: {"a": 1}})) == PLAIN


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("safeguards", "Extra inputs are not permitted"),
        ("container", "containers run at Anthropic"),
        ("mcp_servers", "MCP servers are reached by Anthropic"),
        ("thread", "threads are kept by Anthropic"),
    ],
)
def test_what_only_anthropic_can_do_is_refused_unless_it_is_empty(field: str, told: str) -> None:
    with pytest.raises(Untranslatable, match=f"^{field}: {told}"):
        read_request(request(**{field: [{"a": 1}]}))
    for empty in (None, [], {}):
        assert read_request(request(**{field: empty})) == PLAIN


@pytest.mark.parametrize(
    ("choice", "read"),
    [
        (None, ToolChoice("auto", "", True)),
        ({"type": "auto"}, ToolChoice("auto", "", True)),
        ({"type": "any"}, ToolChoice("any", "", True)),
        ({"type": "none"}, ToolChoice("none", "", True)),
        ({"type": "tool", "name": "f"}, ToolChoice("tool", "f", True)),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice("any", "", False)),
        ({"type": "tool", "name": "f", "disable_parallel_tool_use": True}, ToolChoice("tool", "f", False)),
        ({"type": "auto", "disable_parallel_tool_use": False}, ToolChoice("auto", "", True)),
    ],
)  # fmt: skip
def test_a_choice_of_tools(choice: Any, read: ToolChoice) -> None:
    assert read_request(request(tool_choice=choice)).choice == read


def test_sampling_is_read_field_by_field() -> None:
    found = read_request(
        request(max_tokens=7, temperature=0, top_p=0.5, top_k=4.0, stop_sequences=["a", "b"])
    )
    assert found.sampling == Sampling(7, 0.0, 0.5, 4, ("a", "b"))
    bare = read_request({"model": "m", "messages": []})
    assert bare.sampling == Sampling(None, None, None, None, ())
    assert not bare.stream
    assert read_request(request(stream=True)).stream


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({"output_config": {"effort": "low"}}, "low"),
        ({"output_config": {"effort": "medium"}}, "medium"),
        ({"output_config": {"effort": "high"}}, "high"),
        ({"output_config": {"effort": "xhigh"}}, "xhigh"),
        ({"output_config": {"effort": "max"}}, "max"),
        ({"output_config": {"effort": "max"}, "thinking": {"type": "disabled"}}, "none"),
        ({"output_config": {"effort": "max"}, "thinking": {"type": "enabled", "budget_tokens": 9}}, "max"),
        ({"output_config": None}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 4_096}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 4_097}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 16_384}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 16_385}}, "high"),
        ({"thinking": {"type": "enabled", "budget_tokens": "all"}}, None),
        ({"thinking": {"type": "enabled"}}, None),
        ({"thinking": {"type": "adaptive", "budget_tokens": 9}}, None),
        ({"thinking": "much"}, None),
    ],
)  # fmt: skip
def test_how_much_effort_is_asked_for(fields: dict[str, Any], effort: str | None) -> None:
    assert read_request(request(**fields)).effort == effort


def test_the_last_message_that_asks_for_an_effort_is_heard() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "a", "output_config": {"effort": "low"}},
        {"role": "assistant", "content": "b", "output_config": {"effort": "max"}},
        {"role": "user", "content": "c", "output_config": {}},
        {"role": "user", "content": "d", "output_config": "x"},
    ]
    assert read_request(request(messages=messages)).effort == "max"


def test_a_schema_for_the_answer() -> None:
    schema = {"type": "object", "properties": {}}
    found = read_request(
        request(output_config={"format": {"type": "json_schema", "schema": schema}})
    )
    assert found.schema == schema
    assert PLAIN.schema is None


def test_a_system_prompt_is_its_words() -> None:
    blocks = [
        {"type": "text", "text": "Be"},
        {"type": "text", "text": ""},
        {"type": "text", "text": "kind"},
    ]
    assert read_request(request(system=blocks)).system == "Be\n\nkind"
    assert read_request(request(system="Be kind")).system == "Be kind"
    assert read_request(request(system=None)).system == ""


def source(kind: str, **source: Any) -> dict[str, Any]:
    return {"type": kind, "source": source}


TEXT = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]


@pytest.mark.parametrize(
    ("block", "read"),
    [
        (source("image", type="url", url="https://x"), Image(url="https://x")),
        (source("document", type="url", url="https://x"), Document(url="https://x")),
        (source("document", type="text", data="words"), Text("words")),
        ({**source("document", type="text", data="words"), "title": "T"}, Text("T\n\nwords")),
        (source("document", type="content", content=TEXT), Text("one\n\ntwo")),
        ({**source("document", type="content", content="words"), "title": "T"}, Text("T\n\nwords")),
        (
            {**source("document", type="base64", media_type="application/pdf", data="AA"), "title": 5},
            Document("application/pdf", "AA"),
        ),
        (
            {**source("document", type="base64", media_type="text/x", data="AA"), "title": "T"},
            Document("text/x", "AA", title="T"),
        ),
        (
            {"type": "search_result", "title": "T", "source": "https://x", "content": TEXT},
            Text("T\nhttps://x\n\none\n\ntwo"),
        ),
        ({"type": "tool_reference", "tool_name": "f"}, Text("The tool f is loaded and can be called now.")),
    ],
)  # fmt: skip
def test_what_a_user_shows(block: dict[str, Any], read: Any) -> None:
    (turn,) = said({"role": "user", "content": [block]})
    assert turn.shown == (read,)


IMAGE = source("image", type="base64", media_type="image/png", data="AA")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([source("image", type="file", file_id="f")], "messages[0].content[0].source: a source of type 'file' lies at Anthropic"),
        ([source("document", type="file", file_id="f")], "messages[0].content[0].source: a source of type 'file' lies"),
        ([source("image", type="url")], "messages[0].content[0].source.url: must be a string"),
        ([source("image", type="base64", data="A")], "messages[0].content[0].source.media_type: must be"),
        ([source("image", type="base64", media_type="x")], "messages[0].content[0].source.data: must be"),
        ([source("document", type="url")], "messages[0].content[0].source.url: must be a string"),
        ([source("document", type="text")], "messages[0].content[0].source.data: must be"),
        ([source("document", type="base64", data="A")], "messages[0].content[0].source.media_type: must"),
        ([source("document", type="base64", media_type="x")], "messages[0].content[0].source.data: must"),
        ([source("document", type="content", content=[IMAGE])], "messages[0].content[0].source: a document made of images"),
        ([source("document", type="content", content=[*TEXT, IMAGE])], "messages[0].content[0].source: a document made"),
        ([source("document", type="content", content=[{"type": "x"}])],
         "messages[0].content[0].source.content[0]: a block of type 'x'"),
        ([{"type": "document"}], "messages[0].content[0].source: must be an object"),
        ([{"type": "image"}], "messages[0].content[0].source: must be an object"),
        ([{"type": "text"}], "messages[0].content[0].text: must be a string"),
        ([{"type": "search_result", "title": 5}], "messages[0].content[0].title: must be"),
        ([{"type": "search_result", "source": 5}], "messages[0].content[0].source: must be"),
        ([{"type": "search_result", "content": [{"type": "x"}]}], "messages[0].content[0].content[0]: a block"),
        ([{"type": "tool_reference"}], "messages[0].content[0].tool_name: must be"),
        (["x"], "messages[0].content[0]: must be an object"),
        (5, "messages[0].content: must be an array"),
        ([{"type": "web_search_tool_result"}],
         "messages[0].content[0]: a block of type 'web_search_tool_result' is made by a tool that runs"),
        ([{"type": "tool_result"}], "messages[0].content[0].tool_use_id: must be a string"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_elsewhere_is_refused_by_its_place(content: Any, told: str) -> None:
    with pytest.raises(Untranslatable) as refusal:
        said({"role": "user", "content": content})
    assert str(refusal.value).startswith(told)


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({**CALL, "id": 5}, "messages[0].content[0].id: must be a string"),
        ({**CALL, "name": None}, "messages[0].content[0].name: must be a string"),
        ({**CALL, "input": "x"}, "messages[0].content[0].input: must be an object"),
        ({"type": "thinking", "thinking": 5}, "messages[0].content[0].thinking: must be a string"),
        ({"type": "text"}, "messages[0].content[0].text: must be a string"),
        (IMAGE, "messages[0].content[0]: a block of type 'image' cannot be translated"),
    ],
)
def test_what_an_assistant_cannot_have_said_is_refused_by_its_place(
    block: dict[str, Any], told: str
) -> None:
    with pytest.raises(Untranslatable) as refusal:
        said({"role": "assistant", "content": [block]})
    assert str(refusal.value).startswith(told)


def test_the_same_call_twice_in_one_turn_is_refused() -> None:
    with pytest.raises(Untranslatable, match="'toolu_1' is there twice"):
        said({"role": "assistant", "content": [CALL, CALL]})


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("tool_addition", "tools cannot be added or removed in mid-conversation here"),
        ("tool_removal", "tools cannot be added or removed in mid-conversation here"),
        ("image", "a block of type 'image' is not text"),
    ],
)
def test_a_system_message_is_words_alone(kind: str, told: str) -> None:
    with pytest.raises(Untranslatable, match=told):
        said({"role": "system", "content": [{"type": kind}]})


def test_a_call_without_input_and_a_result_without_content_are_empty() -> None:
    bare = {key: value for key, value in CALL.items() if key != "input"}
    turns = said(
        {"role": "assistant", "content": [{**bare, "extra_content": "odd"}]},
        {"role": "user", "content": [{**RESULT, "content": None}]},
    )
    assert turns[0].calls[0].input == {}
    assert turns[0].calls[0].foreign == {}
    assert turns[1].results[0].content == ()


@pytest.mark.parametrize(
    ("signature", "kept"), [("sig", "sig"), ("", ""), (None, ""), ("llm-supervisor:moon:sig", "")]
)
def test_of_a_signature_only_anthropics_own_is_one(signature: str | None, kept: str) -> None:
    block = {"type": "thinking", "thinking": "hm", "signature": signature}
    (turn,) = said({"role": "assistant", "content": [block]})
    assert (turn.thinking[0].text, turn.thinking[0].signature) == ("hm", kept)
