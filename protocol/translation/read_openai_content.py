"""Content of a chat completion's messages as Anthropic's blocks (`wire.md` B5)."""

from __future__ import annotations

import base64
import binascii

from protocol.translation.data_url import is_data_url, read_base64, read_data_url
from protocol.translation.refusal import Json, as_list, as_object, as_text, unfit

PDF = "application/pdf"


def words_of(content: object, where: str) -> str:
    """All words of a message that can have nothing else; "" where there is nothing but space."""
    parts = [] if content is None else _parts(content, f"{where}.content")
    if any(part["type"] != "text" for part in parts):
        raise unfit(f"{where}.content", "only text can stand here")
    words = "".join(part["text"] for part in parts)
    return words if words.strip() else ""


def parts_of(content: object, where: str) -> list[Json]:
    """Without texts of nothing but space: Anthropic refuses them."""
    parts = _parts(content, f"{where}.content")
    return [part for part in parts if part["type"] != "text" or part["text"].strip()]


def _parts(content: object, where: str) -> list[Json]:
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    return [
        _part(as_object(part, f"{where}[{place}]"), f"{where}[{place}]")
        for place, part in enumerate(as_list(content, where))
    ]


def _part(part: Json, where: str) -> Json:
    match part.get("type"):
        case "text":
            return {"type": "text", "text": as_text(part.get("text"), f"{where}.text")}
        case "refusal":
            return {"type": "text", "text": as_text(part.get("refusal"), f"{where}.refusal")}
        case "image_url":
            image = part.get("image_url")
            inner = f"{where}.image_url"
            if not isinstance(image, str):
                image = as_object(image, inner).get("url")
                inner = f"{inner}.url"
            return _image(as_text(image, inner).strip(), where)
        case "file":
            return _file(as_object(part.get("file"), f"{where}.file"), f"{where}.file")
        case kind:
            raise unfit(f"{where}.type", f"{kind!r} is not known here")


def _image(url: str, where: str) -> Json:
    if not is_data_url(url):
        return {"type": "image", "source": {"type": "url", "url": url}}
    data = read_data_url(url, where)
    source = {"type": "base64", "media_type": data.media_type, "data": data.base64}
    return {"type": "image", "source": source}


def _file(file: Json, where: str) -> Json:
    if file.get("file_data") is None and file.get("file_id"):
        raise unfit(f"{where}.file_id", "uploaded files are not here; send it as file_data")
    where = f"{where}.file_data"
    given = as_text(file.get("file_data"), where).strip()
    media_type, data = PDF, given
    if is_data_url(given):
        found = read_data_url(given, where)
        media_type, data = found.media_type, found.base64
    elif given.lower().startswith(("http://", "https://")):
        return _document({"type": "url", "url": given}, file)
    else:
        data = read_base64(given, where)
    if media_type.startswith("text/"):
        # In base64 Anthropic takes PDF alone.
        return _document(
            {"type": "text", "media_type": "text/plain", "data": _text(data, where)}, file
        )
    return _document({"type": "base64", "media_type": media_type, "data": data}, file)


def _document(source: Json, file: Json) -> Json:
    document: Json = {"type": "document", "source": source}
    name = file.get("filename")
    return {**document, "title": name} if isinstance(name, str) and name else document


def _text(data: str, where: str) -> str:
    try:
        return base64.b64decode(data).decode()
    except binascii.Error:
        raise unfit(where, "the data is no base64") from None
    except UnicodeDecodeError:
        raise unfit(where, "a text must be in UTF-8") from None
