"""The pictures in docs/captures: made by `make captures`, of nobody's machine, and steady."""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ElementTree
from datetime import timedelta
from pathlib import Path

import pytest
import trio

from tests.captures import capture
from tests.captures.clock import FIRST_SHOWN, Clock, NoClock
from tests.captures.picture import Picture, Shown, svg
from tests.captures.steady import steady
from tests.kit.rounds import SWEEPING

ROOT = Path(__file__).parents[2]
FILES = sorted(capture.FOLDER.glob("*.svg"))
NAMES = {
    "check", "doctor", "explain", "help", "keys", "logs", "run", "setup", "simulate", "status",
    "statusline", "usage",
}  # fmt: skip


def words_of(file: Path) -> str:
    """What a person reads in the picture, line by line."""
    text = re.sub(r"</text>\s*<text[^>]*x=\"0\"", "\n<text", file.read_text("utf-8"))
    return html.unescape(re.sub(r"<[^>]+>", "", text)).replace("\xa0", " ")


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "now", Path("no-library"))


def shown(said: str, clock: Clock) -> str:
    return steady(
        said,
        home="/tmp/abc",
        shown_home="/home/me",
        port=4093,
        upstream="http://127.0.0.1:39999",
        clock=clock,
        version="0+unknown",
    )


def test_every_picture_is_there_and_every_one_is_used_in_a_page() -> None:
    assert {file.stem for file in FILES} == NAMES
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    text = "".join(page.read_text("utf-8") for page in pages)
    unused = [name for name in sorted(NAMES) if f"captures/{name}.svg" not in text]
    assert unused == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_picture_is_of_nobodys_machine(file: Path) -> None:
    text = file.read_text("utf-8")
    ElementTree.fromstring(text)  # noqa: S314 - our own
    words = words_of(file)
    assert "$ supervisor " in words
    assert "Traceback" not in words
    assert set(re.findall(r"/home/(\w+)", words)) <= {"me"}
    assert set(re.findall(r"(?<![\w/.*~])/(\w+)/\w", words)) <= {"home", "v1"}
    assert "+unknown" not in words
    assert set(re.findall(r"127\.0\.0\.1:(\d+)", words)) <= {"4080"}
    assert set(re.findall(r"\b20\d\d-\d\d\b", words)) <= {"2026-11"}
    assert not re.search(r"sk-ant-\w", words)
    # A picture that asks another server for something would tell it who looks at our pages.
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", text)) - {"http://127.0.0.1:4080"}
    assert addresses <= {
        "http://www.w3.org/2000/svg",
        "https://www.textualize.io",
        "https://api.anthropic.com",
    }


def test_the_pictures_tell_one_story() -> None:
    words = {file.stem: words_of(file) for file in FILES}
    assert "account claude is the login in /home/me/.claude/.credentials.json" in words["setup"]
    assert "listening on http://127.0.0.1:4080" in words["run"]
    assert re.search(r"93%\s+resets in 1 h \d+ min, used up in 9 min", words["status"])
    assert "did you mean fill-first?" in words["check"]
    assert words["logs"].count("  200  POST /v1/messages  ") == 6
    assert "claude failed after" in words["explain"]
    assert "served by account api-key" in words["explain"]
    assert "nothing is wrong" in words["doctor"]
    assert "Exit codes:" in words["help"]


def test_what_differs_between_runs_is_made_the_same(clock: Clock) -> None:
    day = f"{clock.first:%Y-%m-%d}"
    before = f"{clock.first - timedelta(days=7):%Y-%m-%d}"
    one = (
        f"{day} 09:00:00 at http://127.0.0.1:4093, version 0+unknown, up 3 min\n"
        f"since {before}\n/tmp/abc/.claude (pid 31, 4532) http://127.0.0.1:39999\n"
        "event loop lag 3.1 ms\n     0.3 ms  chose\n    212 ms  upstream, until its first byte\n     2.3 s  all\n"
    )
    assert shown(one, clock) == (
        f"{FIRST_SHOWN:%Y-%m-%d} 09:00:00 at http://127.0.0.1:4080, version 0.1.0, up 58 min\n"
        "since 2026-11-14\n/home/me/.claude (pid 4711, 4712) https://api.anthropic.com\n"
        "event loop lag 0.8 ms\n     0.1 ms  chose\n    254 ms  upstream, until its first byte\n     2.0 s  all\n"
    )
    other = one.replace("0.3 ms", "0.9 ms").replace("212", "331").replace("31, 4532", "9, 10")
    assert shown(other.replace("2.3 s", "3.9 s").replace("lag 3.1", "lag 140.9"), clock) == shown(
        one, clock
    )


def test_random_keys_are_made_the_same(clock: Clock) -> None:
    key = "sk-sup-0a1b2c3d-" + "A-b_9" * 8 + "xyz"
    said = f"{key}\nkey 0a1b2c3d for ann\nID  NAME\n0a1b2c3d  ann\n"
    assert shown(said, clock) == (
        f"sk-sup-1f0c9a2e-{'x' * 43}\nkey 1f0c9a2e for ann\nID  NAME\n1f0c9a2e  ann\n"
    )


def test_a_picture_is_the_same_for_the_same_words_and_keeps_colours() -> None:
    said = "\x1b[32mavailable\x1b[0m\n" + "x" * 130 + "\n"
    picture = Picture("sample", "a sample", (Shown("supervisor status", said),))
    drawn = svg(picture)
    assert drawn == svg(picture)
    assert "@font-face" not in drawn
    assert "available</text>" in drawn
    assert re.search(r'class="capture-sample-r\d+"[^>]*>available<', drawn)
    # Folded where the screen ends, as a terminal does it.
    assert [len(run) for run in re.findall(r">(x+)<", drawn)] == [100, 30]


@pytest.mark.sweep
@pytest.mark.skipif(not SWEEPING, reason="plays the whole day, for more than a minute: make sweep")
def test_playing_it_again_draws_the_same() -> None:
    try:
        drawn = trio.run(capture.pictures)
    except NoClock as reason:
        pytest.skip(str(reason))
    assert {picture.name for picture in drawn} == NAMES
    for picture in drawn:
        committed = (capture.FOLDER / f"{picture.name}.svg").read_text("utf-8")
        assert svg(picture) == committed, f"{picture.name}: run `make captures` and commit it"
