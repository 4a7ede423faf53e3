"""What a probe sends, and what its answer does to the account."""

from __future__ import annotations

import json

import msgspec
import pytest

from protocol.account import new_account
from protocol.accounts import AccountSpec, AccountState, Cooldown, Counters, Credential, Scope
from protocol.benches import CooldownPolicy
from protocol.peek import ErrorInfo
from protocol.probe_answers import (
    ProbeAnswer,
    Probed,
    followed,
    judged,
    probed,
    request_body,
    request_headers,
)
from protocol.probing import Pace, Probe
from protocol.quota import Quota, Window
from protocol.request import Headers
from protocol.secrets import Secret
from protocol.verdict import FaultKind

NOW, EPOCH = 1000.0, 1_800_000_000.0
KEY = Credential(Secret("key-of-the-account"), bearer=False)
TOKEN = Credential(Secret("sk-ant-oat01-of-the-owner"), bearer=True)
PROBE = Probe("a", "https://a.test", KEY, KEY, "claude-haiku-5-5", "next")
READING: Headers = (
    (b"anthropic-ratelimit-unified-5h-utilization", b"0.4"),
    (b"anthropic-ratelimit-unified-5h-status", b"allowed"),
    (b"anthropic-ratelimit-unified-5h-reset", b"1800003600"),
)
SPENT: Headers = (
    (b"anthropic-ratelimit-unified-status", b"rejected"),
    (b"anthropic-ratelimit-unified-representative-claim", b"five_hour"),
    (b"anthropic-ratelimit-unified-5h-utilization", b"1.0"),
    (b"anthropic-ratelimit-unified-5h-status", b"rejected"),
    (b"anthropic-ratelimit-unified-5h-reset", b"1800003600"),
)
FINE = ProbeAnswer(200, READING)


def bench(
    reason: str = "rate_limited",
    source: str = "ladder",
    since: float = NOW - 400,
    scope: Scope = Scope.ACCOUNT,
) -> Cooldown:
    return Cooldown(
        scope, "haiku" if scope is Scope.MODEL_FAMILY else "", reason, since, NOW + 500, 3, source
    )


def state(*cooldowns: Cooldown) -> AccountState:
    spec = AccountSpec("a", "api_key", KEY, "https://a.test")
    known = Quota({"7d": Window(0.1, "allowed", None, EPOCH - 900)})
    return msgspec.structs.replace(
        new_account(spec), cooldowns=cooldowns, level=3, quota=known, counters=Counters(7, 6, 1, 1),
        last_request_at=EPOCH - 50, last_error="old",
    )  # fmt: skip


def after(before: AccountState, answer: ProbeAnswer, probe: Probe = PROBE) -> AccountState:
    return probed(before, judged(probe, answer, EPOCH, NOW), CooldownPolicy(), NOW + 1)


def test_it_asks_for_one_token_under_our_own_name() -> None:
    headers = dict(request_headers(PROBE, "llm-supervisor/1 (quota probe)"))
    assert headers[b"user-agent"] == b"llm-supervisor/1 (quota probe)"
    assert headers[b"x-api-key"] == b"key-of-the-account"
    assert headers[b"anthropic-version"] == b"2023-06-01"
    assert headers[b"accept"] == headers[b"content-type"] == b"application/json"
    assert b"authorization" not in headers
    assert b"anthropic-beta" not in headers
    assert not any(b"claude-code" in name + value for name, value in headers.items())
    body = json.loads(request_body(PROBE))
    assert body == {
        "model": "claude-haiku-5-5",
        "max_tokens": 1,
        "messages": [{"role": "user", "content": "quota"}],
    }


def test_a_name_of_ours_that_no_header_can_hold_is_told_as_far_as_it_goes() -> None:
    assert dict(request_headers(PROBE, "prüfer"))[b"user-agent"] == b"pr?fer"


def test_a_token_needs_the_one_beta_that_the_upstream_asks_for() -> None:
    probe = msgspec.structs.replace(PROBE, credential=TOKEN, key=TOKEN)
    headers = dict(request_headers(probe, "x"))
    assert headers[b"authorization"] == b"Bearer sk-ant-oat01-of-the-owner"
    assert headers[b"anthropic-beta"] == b"oauth-2025-04-20"
    assert b"x-api-key" not in headers


def test_the_reading_comes_with_its_source_and_nothing_of_a_request_is_counted() -> None:
    before = state()
    changed = after(before, FINE)
    assert changed.quota.windows["5h"] == Window(0.4, "allowed", 1800003600.0, EPOCH, "probe")
    assert "7d" in changed.quota.windows
    assert changed == msgspec.structs.replace(before, quota=changed.quota)


@pytest.mark.parametrize(
    ("cooldown", "ends"),
    [
        (bench(), True),
        (bench("burst"), True),
        (bench("auth"), False),
        (bench("auth", "status"), False),
        (bench("window_5h", "reset"), False),
        (bench("rate_limited", "retry-after"), False),
        (bench(scope=Scope.MODEL_FAMILY), False),
        (bench(since=NOW), True),
        (bench(since=NOW + 0.5), False),
    ],
)
def test_a_success_ends_a_guess_and_nothing_else(cooldown: Cooldown, ends: bool) -> None:
    changed = after(state(cooldown), FINE)
    assert changed.cooldowns == (() if ends else (cooldown,))
    assert changed.level == (0 if ends else 3)


def test_a_spent_window_benches_until_its_reset() -> None:
    (cooldown,) = after(state(), ProbeAnswer(429, SPENT)).cooldowns
    assert (cooldown.reason, cooldown.source) == ("window_5h", "reset")
    assert cooldown.until == NOW + 1 + 3600


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (((b"retry-after", b"30"),), "rate_limited"),
        (((b"retry-after", b"30"), *READING), "burst"),
        (((b"retry-after", b"90"), *READING), "rate_limited"),
    ],
)
def test_a_limit_with_a_retry_after_benches_for_exactly_that(headers: Headers, reason: str) -> None:
    """Else the next request is sent into a limit that the upstream has already told us of."""
    before = state()
    changed = after(before, ProbeAnswer(429, headers))
    (cooldown,) = changed.cooldowns
    assert (cooldown.reason, cooldown.source) == (reason, "retry-after")
    assert cooldown.until == NOW + 1 + float(headers[0][1])
    assert (changed.level, changed.counters) == (before.level, before.counters)


@pytest.mark.parametrize(
    "answer",
    [
        ProbeAnswer(429),
        ProbeAnswer(429, ((b"x-should-retry", b"true"),)),
        ProbeAnswer(401, ((b"retry-after", b"30"),), ErrorInfo("authentication_error", "no")),
        ProbeAnswer(401, (), ErrorInfo("authentication_error", "no")),
        ProbeAnswer(403),
        ProbeAnswer(404),
        ProbeAnswer(529),
        ProbeAnswer(500),
        ProbeAnswer(fault=FaultKind.CONNECT),
    ],
)
def test_any_other_failure_benches_nobody(answer: ProbeAnswer) -> None:
    before = state(bench())
    assert after(before, answer).cooldowns == before.cooldowns
    assert after(before, answer).counters == before.counters


def test_what_became_of_a_dedicated_key_is_no_word_on_the_account_but_its_reading_is() -> None:
    dedicated = msgspec.structs.replace(PROBE, key=Credential(Secret("dedicated"), bearer=False))
    before = state(bench())
    for answer in (FINE, ProbeAnswer(429, SPENT)):
        changed = after(before, answer, dedicated)
        assert (changed.cooldowns, changed.level) == (before.cooldowns, before.level)
        assert changed.quota.windows["5h"].source == "probe"


def test_an_answer_for_a_credential_that_was_replaced_meanwhile_says_nothing() -> None:
    old = msgspec.structs.replace(PROBE, credential=TOKEN, key=TOKEN)
    before = state(bench())
    assert after(before, FINE, old) == before


PACE = Pace(KEY, 0.0, 0.0, 2)


def paced(answer: ProbeAnswer) -> Pace:
    return followed(PACE, judged(PROBE, answer, EPOCH, NOW), NOW, 0.5)


@pytest.mark.parametrize(
    ("answer", "failures"),
    [
        (FINE, 0),
        (ProbeAnswer(200), 3),  # it brought no reading, and would not the next time
        (ProbeAnswer(429, SPENT), 3),
        (ProbeAnswer(401), 3),
        (ProbeAnswer(fault=FaultKind.TIMEOUT), 3),
    ],
)
def test_a_reading_ends_the_row_of_failures(answer: ProbeAnswer, failures: int) -> None:
    assert paced(answer) == Pace(KEY, NOW, 0.5, failures, NOW)


@pytest.mark.parametrize(("seconds", "rest"), [(b"900", 900), (b"9" * 400, 7 * 86400)])
def test_a_retry_after_is_kept_to_but_never_beyond_a_week(seconds: bytes, rest: float) -> None:
    assert paced(ProbeAnswer(429, ((b"retry-after", seconds),))).not_before == NOW + rest


def test_an_answer_is_a_value() -> None:
    assert judged(PROBE, FINE, EPOCH, NOW) == judged(PROBE, FINE, EPOCH, NOW)
    assert isinstance(judged(PROBE, FINE, EPOCH, NOW), Probed)
