"""What stands in a chat completion's `data:` URL, in every spelling that RFC 2397 has for base64."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.translation.read_openai import read_request
from protocol.translation.refusal import Untranslatable


def told(part: dict[str, Any]) -> dict[str, Any]:
    messages = [{"role": "user", "content": [part]}]
    request = read_request({"model": "m", "messages": messages})
    (block,) = request["messages"][0]["content"]
    found: dict[str, Any] = block
    return found


def image(url: Any) -> dict[str, Any]:
    source: dict[str, Any] = told({"type": "image_url", "image_url": {"url": url}})["source"]
    return source


def file(**fields: Any) -> dict[str, Any]:
    return told({"type": "file", "file": fields})


PNG = {"type": "base64", "media_type": "image/png", "data": "iVBO+/8="}


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png;base64,iVBO+/8=",
        "data:image/png;charset=utf-8;base64,iVBO+/8=",
        "data:image/png;name=a.png;charset=utf-8;base64,iVBO+/8=",
        "DATA:IMAGE/PNG;BASE64,iVBO+/8=",
        "Data:Image/Png;Base64,iVBO+/8=",
        " data:image/png;base64,iVBO+/8= \n",
        "data: image/png ; base64 , iVBO+/8=",
        "data:image/png;base64,iVBO\n+/8=\r\n",
        "data:image/png;base64,iVBO%2B%2F8%3D",
        "data:image/png;base64,iVBO%2b%2f8%3d",
        "data:image%2Fpng;base64,iVBO+/8=",
    ],
)
def test_an_image_is_the_same_however_its_url_is_written(url: str) -> None:
    assert image(url) == PNG


def test_a_name_of_jpeg_that_anthropic_does_not_know_is_the_one_it_knows() -> None:
    assert image("data:image/jpg;base64,AA==")["media_type"] == "image/jpeg"


@pytest.mark.parametrize("url", ["https://a.test/b.png", " https://a.test/b.png\n"])
def test_any_other_url_stays_one(url: str) -> None:
    assert image(url) == {"type": "url", "url": "https://a.test/b.png"}
    plain = told({"type": "image_url", "image_url": url})  # a string, as some clients have it
    assert plain["source"] == {"type": "url", "url": "https://a.test/b.png"}


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("data:image/png,%89PNG", "base64"),
        ("data:image/svg+xml;utf8,<svg/>", "base64"),
        ("data:image/png;base64;charset=utf-8,AA==", "base64"),
        ("data:image/png;base64", "base64"),
        ("data:image/png;base64,%", "base64"),
        ("data:image/png;base64,not base64!", "base64"),
        ("data:image/png;base64,", "empty"),
        ("data:;base64,AA==", "media type"),
        ("data:base64,AA==", "base64"),
        ("data:png;base64,AA==", "media type"),
        ("data:", "base64"),
    ],
)
def test_a_data_url_that_is_something_else_is_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(Untranslatable, match=why) as refused:
        image(url)
    assert "messages[0].content[0]" in str(refused.value)


@given(st.binary(min_size=1, max_size=60), st.booleans(), st.integers(1, 20))
def test_the_data_is_what_was_encoded(data: bytes, percent: bool, width: int) -> None:
    encoded = base64.b64encode(data).decode()
    lines = "\n".join(encoded[at : at + width] for at in range(0, len(encoded), width))
    written = quote(lines, safe="") if percent else lines
    assert base64.b64decode(image(f"data:image/webp;base64,{written}")["data"]) == data


# --- files


def test_a_pdf_is_a_document_with_its_name() -> None:
    expected = {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
    }
    assert file(file_data="data:application/pdf;base64,JVBERi0=") == expected
    named = file(file_data="data:application/pdf;base64,JVBERi0=", filename="a.pdf")
    assert named == {**expected, "title": "a.pdf"}
    assert file(file_data="JVBERi0=") == expected  # without a URL around it


@pytest.mark.parametrize("kind", ["text/plain", "text/markdown", "text/csv;charset=utf-8"])
def test_a_text_is_a_document_of_words(kind: str) -> None:
    """Anthropic takes no text in base64."""
    encoded = base64.b64encode("a;b\né".encode()).decode()
    found = file(file_data=f"data:{kind};base64,{encoded}", filename="a.csv")
    assert found["source"] == {"type": "text", "media_type": "text/plain", "data": "a;b\né"}
    assert found["title"] == "a.csv"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"file_id": "file-1"}, "file_data"),
        ({"file_data": "not base64!"}, "base64"),
        ({"file_data": "data:text/plain;base64,/w=="}, "UTF-8"),
        ({"file_data": "data:text/plain;base64,A"}, "base64"),
        ({}, "file_data"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_reason(
    fields: dict[str, Any], why: str
) -> None:
    with pytest.raises(Untranslatable, match=why):
        file(**fields)


@pytest.mark.parametrize(
    ("written", "registered"),
    [("jpg", "jpeg"), ("pjpeg", "jpeg"), ("x-png", "png"), ("webp", "webp")],
)
def test_the_names_that_images_have_gone_by_are_told_as_the_registered_ones(
    written: str, registered: str
) -> None:
    source = image(f"data:image/{written};base64,iVBO+/8=")
    assert source["media_type"] == f"image/{registered}"
