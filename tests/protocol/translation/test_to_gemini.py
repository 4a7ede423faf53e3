"""What Gemini is asked."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from protocol.translation.conversation import Conversation
from protocol.translation.read_anthropic import read_request
from protocol.translation.refusal import Untranslatable
from protocol.translation.to_gemini import UNSIGNED, write_request
from tests.kit import corpus
from tests.protocol.translation.test_to_openai import BASH, CALL, PDF, PNG, turn


def sent(model: str = "gemini-3-pro", **fields: Any) -> dict[str, Any]:
    request = {
        "model": "claude-opus-5-5",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "hi"}],
        **fields,
    }
    return write_request(read_request(request), model)


def test_the_least_request() -> None:
    assert sent(system="be kind") == {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "systemInstruction": {"parts": [{"text": "be kind"}]},
        "generationConfig": {"maxOutputTokens": 100},
    }


def test_a_call_and_its_result() -> None:
    contents = sent(messages=turn({"content": "a.txt"}), tools=[BASH])["contents"]
    assert contents[1:] == [
        {
            "role": "model",
            "parts": [
                {
                    "functionCall": {"name": "Bash", "args": {"command": "ls"}},
                    "thoughtSignature": "skip_thought_signature_validator",
                }
            ],
        },
        {
            "role": "user",
            "parts": [{"functionResponse": {"name": "Bash", "response": {"output": "a.txt"}}}],
        },
    ]


def test_a_signature_goes_back_with_its_call() -> None:
    signed = {**CALL, "extra_content": {"google": {"thought_signature": "c2ln"}}}
    contents = sent(messages=turn({"content": "x"}, signed))["contents"]
    assert contents[1]["parts"][0]["thoughtSignature"] == "c2ln"


def test_models_before_3_want_no_signature() -> None:
    for model in ("gemini-2.5-pro", "gemini-1.5-pro"):
        contents = sent(model, messages=turn({"content": "x"}))["contents"]
        assert "thoughtSignature" not in contents[1]["parts"][0]


def test_a_failed_tool_is_an_error_in_the_response() -> None:
    contents = sent(messages=turn({"content": "no", "is_error": True}))["contents"]
    assert contents[2]["parts"][0]["functionResponse"]["response"] == {"error": "no"}


def test_images_and_documents_are_inline() -> None:
    contents = sent(messages=[{"role": "user", "content": [PNG, PDF]}])["contents"]
    assert contents[0]["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "AA"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "BB"}},
    ]


def test_what_lies_elsewhere_is_refused_by_its_token() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}
    with pytest.raises(Untranslatable, match="capability_rejected: image_block"):
        sent(messages=[{"role": "user", "content": [image]}])
    document = {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}}
    with pytest.raises(Untranslatable, match="capability_rejected: document_block"):
        sent(messages=[{"role": "user", "content": [document]}])


def test_neighbours_of_one_role_are_one_entry() -> None:
    contents = sent(
        messages=[
            {"role": "user", "content": "a"},
            {"role": "system", "content": "s"},
            {"role": "user", "content": "b"},
        ]
    )["contents"]
    assert [entry["role"] for entry in contents] == ["user"]
    assert [part["text"] for part in contents[0]["parts"]] == [
        "a",
        "<system-reminder>\ns\n</system-reminder>",
        "b",
    ]


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"type": "auto"}, {"mode": "AUTO"}),
        ({"type": "any"}, {"mode": "ANY"}),
        ({"type": "none"}, {"mode": "NONE"}),
        (
            {"type": "tool", "name": "Bash"},
            {"mode": "ANY", "allowedFunctionNames": ["Bash"]},
        ),
    ],
)
def test_a_choice_of_tools_has_its_mode(choice: Any, told: Any) -> None:
    request = sent(tools=[BASH], tool_choice=choice)
    assert request["toolConfig"] == {"functionCallingConfig": told}


@pytest.mark.parametrize(
    ("model", "effort", "told"),
    [
        ("gemini-3-pro", "low", {"includeThoughts": True, "thinkingLevel": "LOW"}),
        ("gemini-3-pro", "max", {"includeThoughts": True, "thinkingLevel": "HIGH"}),
        ("gemini-2.5-pro", "low", {"includeThoughts": True, "thinkingBudget": 2048}),
        ("gemini-2.5-pro", "high", {"includeThoughts": True, "thinkingBudget": -1}),
        ("gemini-2.0-flash", "high", None),
    ],
)
def test_effort_is_told_in_the_words_of_the_line(model: str, effort: str, told: Any) -> None:
    generation = sent(model, output_config={"effort": effort})["generationConfig"]
    assert generation.get("thinkingConfig") == told


LEVELS = {"low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH", "max": "HIGH"}
BUDGETS = {"low": 2048, "medium": 8192, "high": -1, "xhigh": -1, "max": -1}


@pytest.mark.parametrize("effort", list(LEVELS))
def test_every_effort_has_its_word_in_both_lines(effort: str) -> None:
    asked = {"output_config": {"effort": effort}}
    newer, older = sent("gemini-3-pro", **asked), sent("gemini-2.5-flash", **asked)
    assert newer["generationConfig"]["thinkingConfig"]["thinkingLevel"] == LEVELS[effort]
    assert older["generationConfig"]["thinkingConfig"]["thinkingBudget"] == BUDGETS[effort]


def test_who_wants_no_thinking_gets_the_least_and_none_of_it_shown() -> None:
    asked = {"thinking": {"type": "disabled"}}
    assert sent("gemini-3-pro", **asked)["generationConfig"]["thinkingConfig"] == {
        "includeThoughts": False,
        "thinkingLevel": "MINIMAL",
    }
    assert sent("gemini-2.5-pro", **asked)["generationConfig"]["thinkingConfig"] == {
        "includeThoughts": False,
        "thinkingBudget": 0,
    }
    assert "thinkingConfig" not in sent("gemini-1.5-pro", **asked)["generationConfig"]


def test_the_least_effort_above_none_has_its_words_too() -> None:
    asked = Conversation("m", effort="minimal")
    (newer, older) = (write_request(asked, model) for model in ("gemini-3-pro", "gemini-2.5-pro"))
    assert newer["generationConfig"]["thinkingConfig"]["thinkingLevel"] == "MINIMAL"
    assert older["generationConfig"]["thinkingConfig"]["thinkingBudget"] == 512


@pytest.mark.parametrize(("asked", "told"), [(65_537, 65_536), (65_536, 65_536), (1, 1)])
def test_no_answer_is_longer_than_the_longest(asked: int, told: int) -> None:
    assert sent(max_tokens=asked)["generationConfig"] == {"maxOutputTokens": told}
    assert "generationConfig" not in sent(max_tokens=None)


def test_sampling_has_its_words() -> None:
    generation = sent(temperature=0, top_p=0.25, top_k=4, stop_sequences=list("abcde"))
    assert generation["generationConfig"] == {
        "maxOutputTokens": 100,
        "temperature": 0.0,
        "topP": 0.25,
        "topK": 4,
        "stopSequences": ["a", "b", "c", "d", "e"],
    }
    with pytest.raises(Untranslatable, match=r"^stop_sequences: this provider takes at most 5"):
        sent(stop_sequences=list("abcdef"))


def test_a_tool_is_declared_by_its_fitting_name() -> None:
    name = "mcp__" + "very_long_server_name__" * 4
    call = {**CALL, "name": name}
    choice = {"type": "tool", "name": name}
    tools = [{**BASH, "name": name}]
    request = sent(messages=turn({"content": "x"}, call), tools=tools, tool_choice=choice)
    ((declared,),) = [tool["functionDeclarations"] for tool in request["tools"]]
    assert declared["description"] == "runs"
    assert declared["parameters"] == {"type": "object"}
    assert len(declared["name"]) == 64
    contents = request["contents"]
    assert contents[1]["parts"][0]["functionCall"]["name"] == declared["name"]
    assert contents[2]["parts"][0]["functionResponse"]["name"] == declared["name"]
    config = request["toolConfig"]["functionCallingConfig"]
    assert config["allowedFunctionNames"] == [declared["name"]]


def test_a_choice_of_a_tool_that_is_not_there_is_refused() -> None:
    assert sent(tools=[BASH, {"name": "Read"}], tool_choice={"type": "tool", "name": "Read"})
    with pytest.raises(Untranslatable, match=r"^tool_choice\.name: there is no tool 'Read'"):
        sent(tools=[BASH], tool_choice={"type": "tool", "name": "Read"})


def test_one_signature_on_the_first_covers_the_calls_of_a_turn() -> None:
    calls = [{**CALL, "id": f"toolu_{place}"} for place in range(2)]
    results = [{"type": "tool_result", "tool_use_id": call["id"], "content": "x"} for call in calls]
    said = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [{"type": "text", "text": "So:"}, *calls]},
        {"role": "user", "content": [*results, {"type": "text", "text": "and?"}]},
    ]
    _, model, user = sent(messages=said)["contents"]
    assert [sorted(part) for part in model["parts"]] == [
        ["text"],
        ["functionCall", "thoughtSignature"],
        ["functionCall"],
    ]
    assert [next(iter(part)) for part in user["parts"]] == ["functionResponse"] * 2 + ["text"]
    calls[1]["extra_content"] = {"google": {"thought_signature": "c2ln"}}
    _, model, _ = sent(messages=said)["contents"]
    assert [part.get("thoughtSignature") for part in model["parts"]] == [None, None, "c2ln"]


@pytest.mark.parametrize("state", [{"google": "x"}, {"google": {"thought_signature": 5}}, {}])
def test_a_state_that_is_no_signature_is_none(state: Any) -> None:
    contents = sent(messages=turn({"content": "x"}, {**CALL, "extra_content": state}))["contents"]
    assert contents[1]["parts"][0]["thoughtSignature"] == UNSIGNED


def test_a_turn_of_nothing_is_left_out() -> None:
    """An empty text is refused there, and so is an entry without parts."""
    said = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": []},
        {"role": "user", "content": "b"},
    ]
    assert [entry["parts"] for entry in sent(messages=said)["contents"]] == [
        [{"text": "a"}, {"text": "b"}],
    ]


def test_a_schema_for_the_answer() -> None:
    schema = {"type": "object"}
    generation = sent(output_config={"format": {"type": "json_schema", "schema": schema}})[
        "generationConfig"
    ]
    assert generation["responseJsonSchema"] == schema
    assert generation["responseMimeType"] == "application/json"


@pytest.mark.parametrize("name", corpus.names("claude-code"))
def test_claude_code_s_requests_can_be_asked_with_roles_in_turn(name: str) -> None:
    fixture = corpus.load(name)
    for exchange in range(len(fixture["exchanges"])):
        body = json.loads(corpus.request_body(fixture, exchange) or b"{}")
        body.pop("safeguards", None)
        if "max_tokens" in body:
            roles = [
                c["role"] for c in write_request(read_request(body), "gemini-3-pro")["contents"]
            ]
            assert all(a != b for a, b in itertools.pairwise(roles))
