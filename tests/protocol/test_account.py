"""The account machine: what a report does to it, and for how long."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.account import (
    SETTLED_KEPT,
    Reported,
    Used,
    book,
    moved,
    new_account,
    report,
    reset,
    respecified,
    set_enabled,
)
from protocol.accounts import AccountSpec, AccountState, Credential, Scope, Tokens
from protocol.asked import Asked
from protocol.benches import RETRY_AFTER_CAP, CooldownPolicy
from protocol.peek import ErrorInfo
from protocol.quota import Quota, Window
from protocol.secrets import Secret
from protocol.usage import Usage
from protocol.verdict import SUCCESS, FaultKind, Verdict, judge, judge_fault

POLICY = CooldownPolicy(base=1.0, maximum=600.0, auth=300.0)
SPEC = AccountSpec("a", "api_key", Credential(Secret("key-of-a"), bearer=False), "https://x")
LIMIT = judge(429, ())
AUTH = judge(401, ())


def limited(seconds: float) -> Verdict:
    return judge(429, ((b"retry-after", str(seconds).encode()),))


class Playing:
    """An account, and the reports that come in."""

    def __init__(self, spec: AccountSpec = SPEC, policy: CooldownPolicy = POLICY) -> None:
        self.state = new_account(spec)
        self.policy = policy
        self.lease = 0

    def hears(self, verdict: Verdict, now: float, message: str = "m") -> AccountState:
        self.lease += 1
        event = Reported(self.lease, verdict, 1e9 + now, None, message)
        self.state = report(self.state, event, self.policy, now)
        return self.state

    def until(self, now: float) -> float | None:
        return self.state.available_at(now)


def test_a_limit_without_evidence_doubles_until_its_maximum() -> None:
    playing = Playing(policy=CooldownPolicy(base=2.0, maximum=20.0))
    now, rests = 0.0, []
    for _ in range(6):
        until = playing.hears(LIMIT, now).available_at(now)
        assert until is not None
        rests.append(until - now)
        now = until
    assert rests == [2.0, 4.0, 8.0, 16.0, 20.0, 20.0]


def test_a_hundred_limits_in_a_row_are_survived() -> None:
    playing = Playing()
    for round_number in range(2000):
        playing.hears(LIMIT, round_number * 1000.0)
    assert playing.until(1999_000.0) == 1999_000.0 + POLICY.maximum


def test_fifty_parallel_limits_are_one_step_of_the_ladder() -> None:
    playing = Playing()
    for _ in range(50):
        playing.hears(LIMIT, 10.0)
    assert playing.until(10.0) == 11.0
    assert playing.state.level == 1
    assert playing.state.counters.rate_limits == 50
    playing.hears(LIMIT, 11.0)
    assert playing.until(11.0) == 13.0


@pytest.mark.parametrize("seconds", [0.0, 1.0, 2.5, 30.0, 459202.0, 604800.0])
def test_a_retry_after_is_honoured_exactly(seconds: float) -> None:
    playing = Playing()
    playing.hears(limited(seconds), 100.0)
    assert playing.until(100.0) == (100.0 + seconds if seconds else None)
    assert playing.state.level == 0


def test_a_retry_after_beyond_every_window_is_cut() -> None:
    playing = Playing()
    playing.hears(judge(429, ((b"retry-after", b"9" * 400),)), 5.0)
    assert playing.until(5.0) == 5.0 + RETRY_AFTER_CAP


def test_the_longer_of_two_upstream_words_holds() -> None:
    playing = Playing()
    playing.hears(limited(100), 0.0)
    playing.hears(limited(10), 1.0)
    assert playing.until(1.0) == 100.0
    playing.hears(limited(200), 2.0)
    assert playing.until(2.0) == 202.0
    playing.hears(LIMIT, 3.0)
    assert playing.until(3.0) == 202.0, "a limit without evidence adds nothing to it"


def test_an_upstreams_word_replaces_our_guess() -> None:
    playing = Playing(policy=CooldownPolicy(base=600.0))
    playing.hears(LIMIT, 0.0)
    playing.hears(limited(5), 1.0)
    assert playing.until(1.0) == 6.0
    assert [c.source for c in playing.state.cooldowns] == ["retry-after"]


def test_a_refused_credential_and_a_limit_rest_side_by_side() -> None:
    playing = Playing()
    playing.hears(limited(30), 0.0)
    playing.hears(AUTH, 1.0)
    assert {c.reason: c.until for c in playing.state.cooldowns} == {
        "rate_limited": 30.0,
        "auth": 301.0,
    }
    assert playing.until(2.0) == 301.0
    playing.hears(limited(10), 100.0)
    assert {c.reason: c.until for c in playing.state.cooldowns} == {
        "auth": 301.0,
        "rate_limited": 110.0,
    }


@pytest.mark.parametrize("failures", [[LIMIT], [AUTH], [limited(99), AUTH], [LIMIT, LIMIT, AUTH]])
def test_a_success_ends_every_bench_and_the_ladder(failures: list[Verdict]) -> None:
    playing = Playing()
    for verdict in failures:
        playing.hears(verdict, 0.0)
    assert playing.until(0.5) is not None
    playing.hears(SUCCESS, 0.5)
    assert (playing.state.cooldowns, playing.state.level) == ((), 0)
    playing.hears(LIMIT, 1.0)
    assert playing.until(1.0) == 2.0


@pytest.mark.parametrize(
    "verdict",
    [
        judge(400, ()),
        judge(404, ()),
        judge(500, ((b"retry-after", b"9"),)),
        judge(529, ()),
        judge(429, ((b"x-should-retry", b"true"),)),
        *map(judge_fault, FaultKind),
    ],
)
def test_what_is_not_the_accounts_fault_leaves_it_available(verdict: Verdict) -> None:
    playing = Playing()
    playing.hears(verdict, 0.0)
    assert playing.until(0.0) is None
    assert playing.state.counters.errors == 1
    assert playing.state.counters.rate_limits == 0


def test_a_clients_own_credential_is_never_benched() -> None:
    playing = Playing(AccountSpec("client-1", "client", None, "https://x"))
    for verdict in (limited(30), LIMIT, AUTH):
        playing.hears(verdict, 0.0)
    assert playing.state.cooldowns == ()
    assert playing.state.counters.errors == 3
    assert playing.state.last_error == "m"


OLD, NEW = (Credential(Secret(value), bearer=False) for value in ("old-key", "new-key"))


@pytest.mark.parametrize("verdict", [AUTH, LIMIT, limited(60)])
def test_a_late_answer_to_a_replaced_credential_does_not_bench_the_new_one(
    verdict: Verdict,
) -> None:
    replaced = new_account(msgspec.structs.replace(SPEC, credential=NEW))
    late = Reported(1, verdict, 1e9, 401, "m", credential=OLD)
    after = report(replaced, late, POLICY, 0.0)
    assert after.cooldowns == ()
    assert (after.counters.errors, after.last_error) == (1, "m")
    own = report(replaced, msgspec.structs.replace(late, credential=NEW), POLICY, 0.0)
    assert own.available_at(0.0) is not None


def test_a_late_success_of_a_replaced_credential_does_not_free_the_new_one() -> None:
    replaced = new_account(msgspec.structs.replace(SPEC, credential=NEW))
    resting = report(replaced, Reported(1, AUTH, 1e9, 401, "m", credential=NEW), POLICY, 0.0)
    after = report(resting, Reported(2, SUCCESS, 1e9, 200, "", credential=OLD), POLICY, 0.0)
    assert after.cooldowns == resting.cooldowns
    assert after.counters.successes == 1


def test_the_windows_of_one_family_leave_the_others_available() -> None:
    headers = ((b"anthropic-ratelimit-unified-7d_oi-status", b"rejected"), (b"retry-after", b"90"))
    top = Asked("claude-fable-5-2")
    verdict = judge(429, headers, asked=top)
    state = report(new_account(SPEC), Reported(1, verdict, 1e9, 429, "m", asked=top), POLICY, 0.0)
    assert state.status(0.0) == "available"
    assert state.available_at(0.0, "claude-sonnet-5-5") is None
    assert state.available_at(0.0, "claude-fable-9") == 90.0
    sonnet = Reported(2, SUCCESS, 1e9, 200, "", asked=Asked("claude-sonnet-5-5"))
    assert report(state, sonnet, POLICY, 0.0).cooldowns == state.cooldowns
    fable = Reported(2, SUCCESS, 1e9, 200, "", asked=top)
    assert report(state, fable, POLICY, 0.0).cooldowns == ()
    assert reset(state).cooldowns == ()


def test_a_report_that_is_repeated_counts_once() -> None:
    event = Reported(7, LIMIT, 1e9, 429, "m")
    once = report(new_account(SPEC), event, POLICY, 0.0)
    assert report(once, event, POLICY, 5.0) is once
    assert once.counters.requests == 1


def reading(utilization: float, read_at: float = 1e9, name: str = "5h") -> Quota:
    return Quota({name: Window(utilization, "allowed", None, read_at)}, "five_hour")


@pytest.mark.parametrize("verdict", [SUCCESS, LIMIT, AUTH, judge(500, ()), judge(400, ())])
def test_whatever_came_of_an_attempt_its_reading_is_kept(verdict: Verdict) -> None:
    state = new_account(SPEC)
    for lease, quota in enumerate([reading(0.5), reading(0.7, name="7d"), Quota()]):
        state = report(state, Reported(lease, verdict, 1e9, 200, "", quota), POLICY, 0.0)
    assert state.quota.windows == {**reading(0.5).windows, **reading(0.7, name="7d").windows}
    assert state.quota.representative_claim == "five_hour"


def test_readings_of_a_clients_own_credential_are_kept_too() -> None:
    client = new_account(AccountSpec("client-1", "client", None, "https://x"))
    event = Reported(1, LIMIT, 1e9, 429, "m", reading(1.0))
    assert report(client, event, POLICY, 0.0).quota == reading(1.0)


def test_what_the_owner_lifts_is_the_bench_and_not_the_reading() -> None:
    event = Reported(1, limited(99), 1e9, 429, "m", reading(1.0))
    state = report(new_account(SPEC), event, POLICY, 0.0)
    assert reset(state).quota == reading(1.0)


def test_a_new_credential_has_no_readings_of_the_old_one() -> None:
    event = Reported(1, SUCCESS, 1e9, 200, "", reading(1.0))
    state = report(new_account(SPEC), event, POLICY, 0.0)
    assert respecified(state, msgspec.structs.replace(SPEC, priority=3)).quota == reading(1.0)
    new = msgspec.structs.replace(SPEC, credential=Credential(Secret("other"), bearer=False))
    assert respecified(state, new).quota == Quota()


def test_the_memory_of_reports_is_bounded() -> None:
    playing = Playing()
    for _ in range(3 * SETTLED_KEPT):
        playing.hears(SUCCESS, 0.0)
    assert len(playing.state.settled) == SETTLED_KEPT
    assert playing.state.settled[-1] == 3 * SETTLED_KEPT


def test_the_tokens_of_all_answers_are_summed_up_and_unknown_ones_add_nothing() -> None:
    state = new_account(SPEC)
    for lease, usage in enumerate([Usage(1, 2, 3, 4), Usage(), Usage(10, None, 30, partial=True)]):
        state = book(state, Used(lease, usage))
    assert state.tokens == Tokens(input=11, output=2, cache_read=33, cache_write=4)


def test_a_usage_that_is_repeated_counts_once_and_is_apart_from_the_report() -> None:
    event = Used(7, Usage(1, 2))
    state = report(new_account(SPEC), Reported(7, SUCCESS, 1e9, 200, ""), POLICY, 0.0)
    once = book(state, event)
    assert book(once, event) is once
    assert once.tokens == Tokens(1, 2)
    assert once.counters.requests == 1


def test_the_memory_of_usages_is_bounded() -> None:
    state = new_account(SPEC)
    for lease in range(3 * SETTLED_KEPT):
        state = book(state, Used(lease, Usage(1)))
    assert state.booked == tuple(range(2 * SETTLED_KEPT, 3 * SETTLED_KEPT))
    assert state.tokens.input == 3 * SETTLED_KEPT


def test_tokens_outlive_a_reset_and_a_new_credential() -> None:
    used = book(new_account(SPEC), Used(1, Usage(1, 2)))
    new = msgspec.structs.replace(SPEC, credential=Credential(Secret("other"), bearer=False))
    assert respecified(reset(used), new).tokens == Tokens(1, 2)


def test_what_happened_is_counted() -> None:
    playing = Playing()
    for verdict in (SUCCESS, LIMIT, AUTH, judge(500, ()), SUCCESS):
        playing.hears(verdict, 4.0)
    counters = playing.state.counters
    assert (counters.requests, counters.successes, counters.errors) == (5, 2, 3)
    assert counters.rate_limits == 1
    assert playing.state.last_request_at == 1e9 + 4.0


def test_the_last_error_is_one_plain_line() -> None:
    playing = Playing()
    playing.hears(judge(500, ()), 0.0, "500 a\r\nb\x1b[31m\u2028c")
    assert playing.state.last_error == "500 a\ufffd\ufffdb\ufffd[31m\ufffdc"


def test_the_owner_switches_it_and_lifts_its_benches() -> None:
    playing = Playing()
    playing.hears(limited(99), 0.0)
    off = set_enabled(playing.state, False)
    assert off.status(1.0) == "disabled"
    assert set_enabled(off, True).status(1.0) == "cooling", "switching is not lifting"
    lifted = reset(playing.state)
    assert (lifted.status(1.0), lifted.level, lifted.last_error) == ("available", 0, None)
    assert lifted.counters == playing.state.counters


def test_a_new_credential_starts_without_benches() -> None:
    playing = Playing()
    playing.hears(AUTH, 0.0)
    same = msgspec.structs.replace(
        SPEC, priority=3, credential=Credential(Secret("key-of-a"), bearer=False)
    )
    assert respecified(playing.state, same).status(1.0) == "cooling"
    new = msgspec.structs.replace(SPEC, credential=Credential(Secret("other"), bearer=False))
    assert respecified(playing.state, new).status(1.0) == "available"


def test_a_switch_of_the_owner_outlives_a_reload_that_does_not_touch_it() -> None:
    off = set_enabled(new_account(SPEC), False)
    assert not respecified(off, msgspec.structs.replace(SPEC, priority=3)).enabled
    disabled = respecified(new_account(SPEC), msgspec.structs.replace(SPEC, enabled=False))
    assert not disabled.enabled
    assert respecified(disabled, SPEC).enabled


def test_an_account_configured_off_begins_off() -> None:
    assert new_account(msgspec.structs.replace(SPEC, enabled=False)).status(0.0) == "disabled"


verdicts = st.one_of(
    st.builds(
        judge,
        st.sampled_from([200, 400, 401, 403, 404, 429, 429, 429, 500, 529]),
        st.sampled_from(
            [(), ((b"retry-after", b"5"),), ((b"retry-after", b"99999999999"),),
             ((b"retry-after", b"0"),), ((b"x-should-retry", b"true"),)]
        ),
        st.builds(ErrorInfo, st.sampled_from(["", "overloaded_error"])),
    ),
    st.sampled_from(FaultKind).map(judge_fault),
)  # fmt: skip
policies = st.builds(
    CooldownPolicy,
    st.floats(0.001, 31536000.0),
    st.floats(0.001, 31536000.0),
    st.floats(0.001, 31536000.0),
)


@given(policies, st.lists(st.tuples(verdicts, st.floats(0, 1000))))
def test_no_reports_bench_an_account_longer_than_their_reasons_cap(
    policy: CooldownPolicy, reports: list[tuple[Verdict, float]]
) -> None:
    playing, now = Playing(policy=policy), 0.0
    cap = {"auth": policy.auth, "rate_limited": max(policy.maximum, RETRY_AFTER_CAP)}
    for verdict, later in reports:
        now += later
        playing.hears(verdict, now)
        for cooldown in playing.state.active_cooldowns(now):
            assert cooldown.until <= now + cap[cooldown.reason] + 1e-6
            assert cooldown.scope is Scope.ACCOUNT
            if cooldown.source == "ladder":
                assert cooldown.until <= now + policy.maximum + 1e-6
        reasons = [cooldown.reason for cooldown in playing.state.cooldowns]
        assert len(reasons) == len(set(reasons)), "one bench for each reason"
        if verdict.success:
            assert playing.until(now) is None
    assert playing.until(now + max(cap.values()) + 1) is None, "every bench ends by itself"


def quota(used: float | None, resets_at: float | None, read_at: float = 1e9) -> Quota:
    return Quota({"5h": Window(used, "allowed", resets_at, read_at)}, "five_hour")


def test_what_no_choice_depends_on_does_not_move_an_account() -> None:
    """Counters, the moment of a reading, the last error."""
    before = msgspec.structs.replace(new_account(SPEC), quota=quota(0.5, 2e9))
    after = report(before, Reported(1, SUCCESS, 1e9, 200, "", quota(0.5, 2e9, 1e9 + 9)), POLICY, 0)
    after = book(after, Used(1, Usage(5, 6)))
    assert after.counters != before.counters
    assert after.quota != before.quota
    assert not moved(before, after)
    assert not moved(before, book(before, Used(1, Usage(5, 6)))), "no reading came at all"


def test_one_reading_of_several_that_changed_moves_an_account() -> None:
    windows = {"5h": Window(0.5, None, 2e9, 1e9), "7d": Window(0.1, None, 3e9, 1e9)}
    before = msgspec.structs.replace(new_account(SPEC), quota=Quota(windows))
    changed = Quota({**windows, "7d": Window(0.2, None, 3e9, 1e9)})
    assert moved(before, msgspec.structs.replace(before, quota=changed))


def test_a_success_ends_the_row_of_guesses_also_when_no_bench_is_left_of_it() -> None:
    before = msgspec.structs.replace(new_account(SPEC), level=3)
    assert report(before, Reported(1, SUCCESS, 1e9, 200, ""), POLICY, 0.0).level == 0


@pytest.mark.parametrize(
    "change",
    [
        {"enabled": False},
        {"spec": msgspec.structs.replace(SPEC, priority=3)},
        {"quota": quota(0.51, 2e9)},
        {"quota": quota(0.5, 3e9)},
        {"quota": Quota()},
        {"quota": Quota({**quota(0.5, 2e9).windows, "7d": Window(0.1, None, None, 1e9)})},
    ],
)
def test_what_a_choice_depends_on_moves_an_account(change: dict[str, object]) -> None:
    before = msgspec.structs.replace(new_account(SPEC), quota=quota(0.5, 2e9))
    assert moved(before, msgspec.structs.replace(before, **change))


def test_a_bench_moves_an_account_when_it_begins_and_when_a_success_ends_it() -> None:
    playing = Playing()
    calm = playing.state
    benched = playing.hears(limited(30.0), 0.0)
    assert moved(calm, benched)
    event = Reported(99, SUCCESS, 1e9, 200, "", began=1.0)
    assert moved(benched, report(benched, event, POLICY, 2.0))


def test_a_success_that_tells_its_cost_counts_both_once() -> None:
    event = Reported(7, SUCCESS, 1e9, 200, "", usage=Usage(1, 2, 3, 4))
    state = report(new_account(SPEC), event, POLICY, 0.0)
    for again in (report(state, event, POLICY, 0.0), book(state, Used(7, Usage(1, 2, 3, 4)))):
        assert again is state
    assert (state.counters.successes, state.tokens) == (1, Tokens(1, 2, 3, 4))


def test_what_the_owner_lifts_begins_the_ladder_anew() -> None:
    playing = Playing()
    for now in (0.0, 10.0, 20.0):
        playing.hears(LIMIT, now)
    assert playing.state.level == 3
    playing.state = reset(playing.state)
    assert playing.state.last_error is None
    (bench,) = playing.hears(LIMIT, 100.0).cooldowns
    assert bench.until == 101.0
