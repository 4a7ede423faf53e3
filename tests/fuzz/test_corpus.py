"""What fuzzing is seeded with, and what it once broke, as plain tests; and a few inputs of chance."""

from __future__ import annotations

import json as json_text
import random

import pytest

from tests.fuzz.pieces import document, spoilt
from tests.fuzz.targets import SPEAKS_JSON, TARGETS, inputs
from tests.kit.rounds import rounds

CHANCES = rounds(quick=60, full=20_000)
CORPUS_BYTES_MAX = 512 * 1024
"""Of all corpora together: they are seeds, not a collection."""


@pytest.mark.promise("C6", "U5")
@pytest.mark.parametrize("name", TARGETS)
def test_no_input_of_the_corpus_breaks_its_target(name: str) -> None:
    found = list(inputs(name))
    assert found, "a target without seeds is hardly fuzzed"
    for path in found:
        try:
            TARGETS[name](path.read_bytes())
        except Exception as error:
            pytest.fail(f"{path.name} breaks it: {error!r}")


@pytest.mark.sweep
@pytest.mark.parametrize("name", TARGETS)
def test_no_change_of_an_input_breaks_its_target(name: str) -> None:
    """Some of what `make fuzz` does, without its tools."""
    rng = random.Random(name)
    seeds = [path.read_bytes() for path in inputs(name)]
    for _ in range(CHANCES):
        data = _changed(rng.choice(seeds), rng, json=name in SPEAKS_JSON)
        try:
            TARGETS[name](data)
        except Exception as error:
            pytest.fail(f"{data!r} breaks it: {error!r}")


def _changed(data: bytes, rng: random.Random, *, json: bool) -> bytes:
    control = rng.randbytes(2)
    good = document(data[2:]) if json else None
    if isinstance(good, dict | list) and rng.random() < 0.8:
        for _ in range(rng.randrange(1, 4)):
            good = spoilt(good, rng)
        return control + json_text.dumps(good).encode()
    rest = bytearray(data[2:])
    for _ in range(rng.randrange(1, 4)):
        place = rng.randrange(len(rest) + 1)
        match rng.randrange(3):
            case 0:
                rest[place:place] = rng.randbytes(rng.randrange(4))
            case 1:
                del rest[place : place + rng.randrange(8)]
            case _:
                rest[place:place] = rest[rng.randrange(len(rest) + 1) :][: rng.randrange(40)]
    return control + bytes(rest)


def test_the_corpora_stay_small() -> None:
    size = sum(path.stat().st_size for name in TARGETS for path in inputs(name))
    assert size <= CORPUS_BYTES_MAX


def cut_in_many_ways(name: str) -> None:
    for path in inputs(name):
        for control in range(50):
            TARGETS[name](bytes([control, 1]) + path.read_bytes()[2:])


def test_a_broken_promise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: with a scanner that loses the line end of a chunk, its target breaks."""
    from protocol.sse import EventScanner

    whole = EventScanner.feed

    def forgetful(self: EventScanner, chunk: bytes) -> object:
        return whole(self, chunk.rstrip(b"\n"))

    monkeypatch.setattr(EventScanner, "feed", forgetful)
    with pytest.raises(AssertionError):
        cut_in_many_ways("events")
