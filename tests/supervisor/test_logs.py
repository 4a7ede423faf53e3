"""The program's own log lines."""

from __future__ import annotations

import gc
import io
import logging
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest

from protocol.secrets import Secret
from supervisor import logs

TOLD = logging.getLogger("supervisor.test")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a configured process would have on its standard error; all is put back afterwards."""
    text = io.StringIO()
    root = logging.getLogger()
    handlers, level, raising = list(root.handlers), root.level, logging.raiseExceptions
    monkeypatch.setattr(sys, "stderr", text)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    logs.configure("info")
    yield text
    logging.captureWarnings(False)
    root.handlers[:], logging.raiseExceptions = handlers, raising
    root.setLevel(level)


@pytest.mark.promise("X4")
def test_one_event_is_one_line_whatever_is_in_it(said: io.StringIO) -> None:
    TOLD.info("first\nsecond\r\x1b[2J\u2028third %s", "\x00")
    try:
        raise ValueError("a\nb")
    except ValueError:
        TOLD.exception("it failed")
    lines = said.getvalue().split("\n")
    assert len(lines) == 3
    assert lines[2] == ""
    assert "ValueError: a | b" in lines[1]
    assert not set(said.getvalue()) & set("\r\x1b\x00\u2028")


@pytest.mark.promise("X5")
@pytest.mark.plants_canaries  # pytest sees the records before they are masked
def test_no_line_has_a_credential(said: io.StringIO) -> None:
    secret = Secret("a-secret-without-a-shape")
    TOLD.error("with %s and %s", secret.reveal(), "sk-ant-api03-abcdefgh")
    try:
        raise ValueError(secret.reveal())
    except ValueError:
        TOLD.exception("and in a traceback")
    assert secret.reveal() not in said.getvalue()
    assert "abcdefgh" not in said.getvalue()
    assert said.getvalue().count("***") >= 3


def test_the_level_can_change_while_running(said: io.StringIO) -> None:
    TOLD.debug("one")
    logs.set_level("debug")
    TOLD.debug("two")
    logs.set_level("error")
    TOLD.warning("three")
    assert "one" not in said.getvalue()
    assert "two" in said.getvalue()
    assert "three" not in said.getvalue()


@pytest.mark.parametrize("name", ["httpx", "httpcore.connection", "hypercorn.error", "quart.app"])
def test_libraries_do_not_tell_requests_in_their_own_words(said: io.StringIO, name: str) -> None:
    logs.set_level("debug")
    logging.getLogger(name).info("GET / with a header")
    logging.getLogger(name).warning("something is wrong")
    assert "a header" not in said.getvalue()
    assert "something is wrong" in said.getvalue()


@pytest.mark.plants_canaries  # pytest sees the records before they are masked
def test_what_python_would_print_by_itself_is_one_masked_line_too(said: io.StringIO) -> None:
    secret = Secret("a-secret-without-a-shape")

    class Unhappy:
        def __del__(self) -> None:
            raise ValueError(f"in a finalizer: {secret.reveal()}")

    def fail() -> None:
        raise ValueError(f"in a thread: {secret.reveal()}")

    Unhappy()
    gc.collect()
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn(f"a warning: {secret.reveal()}", UserWarning, stacklevel=1)
    TOLD.info("too few arguments: %s %s", "one")
    text = said.getvalue()
    assert secret.reveal() not in text
    for words in ("in a finalizer", "in a thread", "a warning"):
        assert sum(words in line for line in text.splitlines()) == 1
    assert len(text.splitlines()) == 3
