"""What answers repeat is not read again, and nothing new is missed."""

from __future__ import annotations

import random

from protocol.accounts import Credential
from protocol.quota import Quota, merged, read
from protocol.quota_readings import ACCOUNTS_MAX, AGAIN_SECONDS, Readings
from protocol.request import Headers
from protocol.secrets import Secret

KEY = Credential(Secret("key-of-the-account"), bearer=False)
OTHER = Credential(Secret("key-of-the-account"), bearer=False)
NOTHING = Quota()


def headers(used: str, date: bytes = b"now") -> Headers:
    return (
        (b"Date", date),
        (b"Anthropic-RateLimit-Unified-5h-Utilization", used.encode()),
        (b"anthropic-ratelimit-unified-5h-reset", b"1790010000"),
    )


def test_the_same_bytes_are_read_once_a_second() -> None:
    """Other headers may differ. When it was read is told anew after that second."""
    readings = Readings()
    first = readings.read("a", KEY, headers("0.5"), 1000.0)
    assert first == read(headers("0.5"), 1000.0)
    assert readings.read("a", KEY, headers("0.5", b"later"), 1000.9) == NOTHING
    again = readings.read("a", KEY, headers("0.5"), 1000.0 + AGAIN_SECONDS)
    assert again.windows["5h"].read_at == 1000.0 + AGAIN_SECONDS
    assert readings.read("a", KEY, headers("0.5"), 1001.5) == NOTHING


def test_other_bytes_another_account_and_another_credential_are_read_at_once() -> None:
    readings = Readings()
    for account, credential, used in (
        ("a", KEY, "0.5"), ("a", KEY, "0.51"), ("b", KEY, "0.51"), ("b", OTHER, "0.51"),
    ):  # fmt: skip
        assert readings.read(account, credential, headers(used), 1000.0).windows, account


def test_a_clock_that_was_set_back_silences_nothing() -> None:
    readings = Readings()
    readings.read("a", KEY, headers("0.5"), 1000.0)
    assert readings.read("a", KEY, headers("0.5"), 400.0).windows["5h"].read_at == 400.0


def test_after_a_failure_the_next_success_is_read_whatever_it_says() -> None:
    """What the failure said may differ from both successes around it."""
    readings = Readings()
    readings.read("a", KEY, headers("0.5"), 1000.0)
    assert readings.read_anew("a", headers("1.0"), 1000.1).windows["5h"].utilization == 1.0
    assert readings.read("a", KEY, headers("0.5"), 1000.2).windows["5h"].utilization == 0.5


def test_an_answer_without_limits_changes_nothing_that_is_known() -> None:
    readings = Readings()
    readings.read("a", KEY, headers("0.5"), 1000.0)
    assert readings.read("a", KEY, ((b"date", b"x"),), 1000.1) == NOTHING
    assert readings.read("a", KEY, headers("0.5"), 1000.2) == NOTHING


def test_what_is_remembered_of_accounts_is_bounded() -> None:
    readings = Readings()
    for number in range(3 * ACCOUNTS_MAX):
        assert readings.read(f"client-{number}", None, headers("0.5"), 1000.0).windows
    assert len(readings._newest) <= ACCOUNTS_MAX


def test_an_account_knows_the_same_as_if_every_answer_had_been_read() -> None:
    """But for when it was read, which may be a second older."""
    rng = random.Random(7)
    readings, now = Readings(), 1000.0
    lazy = eager = NOTHING
    for _ in range(2000):
        now += rng.choice((0.0, 0.01, 0.3, 2.0))
        sent = headers(rng.choice(("0.5", "0.5", "0.5", "0.51", "0.6")))
        lazy = merged(lazy, readings.read("a", KEY, sent, now))
        eager = merged(eager, read(sent, now))
        known, true = lazy.windows["5h"], eager.windows["5h"]
        assert (known.utilization, known.resets_at) == (true.utilization, true.resets_at)
        assert 0 <= true.read_at - known.read_at < AGAIN_SECONDS
