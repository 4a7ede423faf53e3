"""One list of models, and the names on it."""

from __future__ import annotations

import pytest
from anthropic.types import ModelInfo
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Model

from protocol.model_list import Listed, anthropic_page, merged, openai_page, read_page
from protocol.model_names import resolve, unwrap, without_long_context, wrap

OPUS = {
    "type": "model",
    "id": "claude-opus-5-5",
    "display_name": "Claude Opus 5.5",
    "created_at": "2026-01-01T00:00:00Z",
}
FOREIGN = [Listed("gpt-5", "openai"), Listed("qwen3", "local")]


def test_anthropic_comes_first_then_the_providers_then_the_aliases() -> None:
    entries = merged([OPUS], FOREIGN, {"mine": "claude-opus-5-5"}, ())
    assert [entry["id"] for entry in entries] == [
        "claude-opus-5-5",
        "claude-supervisor-gpt-5",
        "claude-supervisor-qwen3",
        "claude-supervisor-mine",
    ]
    # Read as the SDK reads: leniently, for the list is an open one.
    shown = [ModelInfo.construct(**entry).display_name for entry in entries]
    assert shown[1:] == ["gpt-5 (openai)", "qwen3 (local)", "mine = claude-opus-5-5"]


def test_a_long_variant_is_offered_where_it_is_configured() -> None:
    entries = merged([], FOREIGN, {}, ("gpt-*",))
    assert [entry["id"] for entry in entries][:2] == [
        "claude-supervisor-gpt-5",
        "claude-supervisor-gpt-5[1m]",
    ]


def test_every_id_is_there_once_and_the_first_counts() -> None:
    twice = [OPUS, {**OPUS, "display_name": "other"}]
    assert [entry["display_name"] for entry in merged(twice, [], {}, ())] == ["Claude Opus 5.5"]


def test_the_pages_have_the_shapes_of_their_dialects() -> None:
    entries = merged([OPUS], FOREIGN, {}, ())
    page = anthropic_page(entries)
    assert (page["first_id"], page["last_id"]) == ("claude-opus-5-5", "claude-supervisor-qwen3")
    assert anthropic_page([])["first_id"] is None
    models = [Model.model_validate(entry, strict=True) for entry in openai_page(entries, 1)["data"]]
    assert models[0].owned_by == "anthropic"


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({"object": "list", "data": [{"id": "gpt-5"}]}, ["gpt-5"]),
        ({"models": [{"name": "models/gemini-3-pro"}]}, ["gemini-3-pro"]),
        ({"data": ["x", {"id": 1}, {}]}, []),
        ([], []),
        (None, []),
    ],
)
def test_a_provider_s_list_is_read_in_any_shape(document: object, names: list[str]) -> None:
    assert read_page(document) == names


@given(st.text(max_size=30))
def test_a_name_finds_its_way_back(name: str) -> None:
    if not name.startswith("claude-supervisor-"):
        assert unwrap(wrap(name)) == name
    assert "claude" in wrap(name).lower() or "anthropic" in wrap(name).lower()


def test_an_alias_is_followed_once_and_a_circle_ends() -> None:
    assert resolve("a", {"a": "b", "b": "a"}) == "b"
    assert resolve("a", {"a": "claude-supervisor-gpt-5"}) == "gpt-5"
    assert resolve("claude-supervisor-a", {"a": "gpt-5"}) == "gpt-5"
    assert without_long_context("gpt-5[1m]") == "gpt-5"


def test_an_entry_has_all_that_a_client_reads_of_it() -> None:
    (long, short) = reversed(merged([], FOREIGN[:1], {}, ("gpt-*",)))
    assert short == {
        "type": "model",
        "id": "claude-supervisor-gpt-5",
        "display_name": "gpt-5 (openai)",
        "created_at": "1970-01-01T00:00:00Z",
    }
    assert long["display_name"] == "gpt-5 (openai), 1M context"
    assert merged([{"name": "x"}, {"id": 5}], [], {}, ()) == [], "without an id there is no model"


def test_a_page_is_the_whole_list() -> None:
    entries = merged([OPUS], FOREIGN[:1], {}, ())
    assert anthropic_page(entries) == {
        "data": entries,
        "has_more": False,
        "first_id": "claude-opus-5-5",
        "last_id": "claude-supervisor-gpt-5",
    }
    assert anthropic_page([]) == {
        "data": [], "has_more": False, "first_id": None, "last_id": None,
    }  # fmt: skip
    model = {"object": "model", "created": 7}
    assert openai_page(entries, 7) == {
        "object": "list",
        "data": [
            {"id": "claude-opus-5-5", **model, "owned_by": "anthropic"},
            {"id": "claude-supervisor-gpt-5", **model, "owned_by": "llm-supervisor"},
        ],
    }
