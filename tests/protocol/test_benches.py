"""How long a bench lasts, whatever an upstream says, and what a success ends."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.account import Reported, new_account, report
from protocol.accounts import AccountSpec, AccountState, Cooldown, Credential, Scope
from protocol.asked import Asked
from protocol.benches import RETRY_AFTER_CAP, Benches, CooldownPolicy, benched, proved
from protocol.config import model
from protocol.peek import ErrorInfo
from protocol.request import Headers
from protocol.secrets import Secret
from protocol.verdict import SUCCESS, FaultKind, Verdict, judge, judge_early_error, judge_fault
from tests.kit.rounds import rounds

AT = 1_790_000_000.0
"""The wall clock at monotonic second 0."""

HOUR, DAY = 3600.0, 86400.0
POLICY = CooldownPolicy()
K = "anthropic-ratelimit-"
U = f"{K}unified-"
FABLE, SONNET = Asked("claude-fable-5-2"), Asked("claude-sonnet-5-5")


def headers(**fields: str) -> Headers:
    """`w5h_reset` is the window's header, `retry_after` and `x_should_retry` are themselves."""
    return tuple(
        (
            (U + name[1:] if name.startswith("w") else name).replace("_", "-").encode(),
            value.encode(),
        )
        for name, value in fields.items()
    )


def spent(window: str, resets_in: float | None, **more: str) -> Headers:
    name = (U + window).encode()
    reset = () if resets_in is None else ((name + b"-reset", str(int(AT + resets_in)).encode()),)
    return ((name + b"-status", b"rejected"), *reset, *headers(**more))


def rest(verdict: Verdict, policy: CooldownPolicy = POLICY) -> tuple[float, str]:
    (bench,) = benched(Benches(), verdict, policy, now=0.0, at=AT).cooldowns
    return bench.until, bench.source


@pytest.mark.parametrize(
    ("given_headers", "expected"),
    [
        (spent("5h", 3600), (HOUR, "reset")),
        (spent("5h", 3600, retry_after="9"), (HOUR, "reset")),
        (spent("5h", 30 * DAY), (5 * HOUR + 60, "reset")),
        (spent("7d", 30 * DAY), (7 * DAY + 60, "reset")),
        (spent("7d_oi", 30 * DAY), (7 * DAY + 60, "reset")),
        (spent("30d", 30 * DAY), (7 * DAY, "reset")),
        ((*spent("5h", 1800), *spent("7d", 900)), (1800.0, "reset")),
        ((*spent("5h", 30 * DAY), *spent("7d", DAY)), (DAY, "reset")),
        (spent("5h", -10, retry_after="9"), (9.0, "retry-after")),
        (spent("5h", None, retry_after="99999"), (5 * HOUR + 60, "retry-after")),
        (spent("5h", None), (1.0, "ladder")),
        (headers(retry_after="459202"), (459202.0, "retry-after")),
        (headers(retry_after="9" * 400), (RETRY_AFTER_CAP, "retry-after")),
        (headers(w5h_status="allowed", retry_after="31"), (31.0, "retry-after")),
        ((), (1.0, "ladder")),
    ],
)
def test_the_reset_then_retry_after_then_the_ladder(
    given_headers: Headers, expected: tuple[float, str]
) -> None:
    assert rest(judge(429, given_headers, asked=FABLE)) == expected


@pytest.mark.parametrize("windows", [("5h", "7d"), ("7d", "5h")])
def test_of_two_spent_windows_the_one_that_ends_last_is_the_reason(
    windows: tuple[str, str],
) -> None:
    ends = {"5h": HOUR, "7d": DAY}
    both = tuple(header for name in windows for header in spent(name, ends[name]))
    (cooldown,) = benched(Benches(), judge(429, both), POLICY, now=0.0, at=AT).cooldowns
    assert (cooldown.reason, cooldown.until) == ("window_7d", DAY)


def test_a_configured_ladder_replaces_the_doubling_and_its_maximum() -> None:
    policy = CooldownPolicy(base=1.0, maximum=60.0, ladder=(60.0, 300.0, 1800.0))
    known, now, rests = Benches(), 0.0, []
    for _ in range(5):
        known = benched(known, judge(429, ()), policy, now=now, at=AT)
        rests.append(known.cooldowns[-1].until - now)
        now = known.cooldowns[-1].until
    assert rests == [60.0, 300.0, 1800.0, 1800.0, 1800.0]
    known = proved(known, SONNET, now)
    again = benched(known, judge(429, ()), policy, now=now, at=AT)
    assert again.cooldowns[-1].until - now == 60.0


def bench(scope: Scope, target: str = "", reason: str = "rate_limited", since: float = 0.0) -> Cooldown:  # fmt: skip
    return Cooldown(scope, target, reason, since, 999.0, 0, "retry-after")


WHOLE = bench(Scope.ACCOUNT)
REFUSED = bench(Scope.ACCOUNT, reason="auth")
TOP = bench(Scope.MODEL_FAMILY, "fable", "window_7d_oi")
OPUS = bench(Scope.MODEL_FAMILY, "opus", "window_7d_opus")
LONG = bench(Scope.BETA, "context-1m", "long_context")
ALL = (WHOLE, REFUSED, TOP, OPUS, LONG)


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        (SONNET, (TOP, OPUS, LONG)),
        (FABLE, (OPUS, LONG)),
        (Asked("claude-opus-5-5", ("context-1m-2025-08-07",)), (TOP,)),
        (Asked(None), (TOP, OPUS, LONG)),
        (Asked("claude-fable-5-2", spends=False), (WHOLE, TOP, OPUS, LONG)),
    ],
)
def test_a_success_ends_what_it_disproves_and_nothing_else(
    asked: Asked, left: tuple[Cooldown, ...]
) -> None:
    after = proved(Benches(ALL, 3), asked, began=1.0)
    assert after.cooldowns == left
    assert after.level == (0 if asked.spends else 3)


def test_a_success_that_began_before_the_limit_proves_nothing_against_it() -> None:
    late = bench(Scope.ACCOUNT, since=10.0)
    known = Benches((late,), 2)
    assert proved(known, SONNET, began=9.0) == known
    assert proved(known, SONNET, began=10.0) == Benches((), 0)


def test_benches_of_different_targets_stand_side_by_side() -> None:
    known = Benches()
    for window, asked in (("7d_oi", FABLE), ("7d_opus", Asked("opus")), ("5h", SONNET)):
        known = benched(known, judge(429, spent(window, 600), asked=asked), POLICY, now=0.0, at=AT)
    assert [(c.scope, c.target) for c in known.cooldowns] == [
        (Scope.MODEL_FAMILY, "fable"),
        (Scope.MODEL_FAMILY, "opus"),
        (Scope.ACCOUNT, ""),
    ]


def test_a_fresh_reset_of_the_same_window_makes_no_second_bench() -> None:
    known = benched(Benches(), judge(429, spent("5h", 600)), POLICY, now=0.0, at=AT)
    known = benched(known, judge(429, spent("5h", 700)), POLICY, now=1.0, at=AT + 1)
    assert [(c.reason, c.until) for c in known.cooldowns] == [("window_5h", 700.0)]


# ------------------------------------------------------------------------------ for every sequence

SPEC = AccountSpec("a", "api_key", Credential(Secret("k"), bearer=False), "https://x")
seconds = st.sampled_from(["0", "1", "20", "60", "61", "3600", "459202", "9" * 400, "soon", "-1"])
resets = st.one_of(st.integers(-(10**6), 10**9), st.sampled_from([0, 60, 18000, 604800]))
windows = st.sampled_from(["5h", "7d", "7d_oi", "7d_opus", "overage", "30d", "unknown-new"])
retry_after = st.one_of(st.just(()), st.builds(lambda s: headers(retry_after=s), seconds))

ROWS = {
    "window": st.builds(
        lambda window, reset, after: (*spent(window, reset), *after), windows, resets, retry_after
    ),
    "two windows": st.builds(
        lambda one, two, first, second: (*spent(one, first), *spent(two, second)),
        windows, windows, resets, resets,
    ),
    "claim": st.builds(
        lambda claim, reset, after: (
            *headers(wstatus="rejected", wrepresentative_claim=claim, wreset=str(int(AT + reset))),
            *after,
        ),
        st.sampled_from(["five_hour", "seven_day", "seven_day_overage_included", "new", ""]),
        resets, retry_after,
    ),
    "retry-after": st.builds(lambda s: headers(retry_after=s), seconds),
    "burst": st.builds(
        lambda s: headers(w5h_status="allowed", w5h_utilization="0.2", retry_after=s), seconds
    ),
    "key": st.builds(
        lambda name, remaining, reset: headers(
            **{f"{K}{name}-remaining": remaining, f"{K}{name}-reset": reset}
        ),
        st.sampled_from(["requests", "tokens", "input-tokens"]),
        st.sampled_from(["0", "7", "-1"]),
        st.sampled_from(["2026-09-21T00:00:00Z", "9999-12-31T23:59:59Z", "soon", "20"]),
    ),
    "windowless": st.just(headers(x_should_retry="true")),
    "not to be repeated": st.just(headers(x_should_retry="false")),
    "nothing": st.just(()),
}  # fmt: skip

asks = st.sampled_from([FABLE, SONNET, Asked(None), Asked("gpt-5", ("context-1m-2025-08-07",))])
statuses = st.sampled_from([429, 429, 429, 401, 403, 400, 500, 529, 200])
messages = st.sampled_from(
    [
        "",
        "Extra usage is required for long context requests.",
        "This organization has been disabled.",
    ]
)
policies = st.builds(
    CooldownPolicy,
    st.floats(0.001, 3e7),
    st.floats(0.001, 3e7),
    st.floats(0.001, 3e7),
    st.lists(st.floats(0.001, 3e7), max_size=4).map(tuple),
)


def cap(cooldown: Cooldown, policy: CooldownPolicy) -> float:
    """The longest that a bench of this reason may last."""
    if cooldown.reason in ("auth", "long_context"):
        return policy.auth
    if cooldown.source == "ladder":
        return max(policy.ladder) if policy.ladder else policy.maximum
    if cooldown.reason == "burst":
        return 60.0
    if cooldown.reason == "window_5h":
        return 5 * HOUR + 60
    return 7 * DAY + (60 if cooldown.reason.startswith("window_7d") else 0)


def playing(
    policy: CooldownPolicy, heard: list[tuple[Headers, int, str, Asked, float]]
) -> tuple[AccountState, float]:
    """The account after all of that; checks every bench on the way."""
    state, now = new_account(SPEC), 0.0
    for lease, (given_headers, status, message, asked, later) in enumerate(heard, 1):
        now += later
        verdict = judge(status, given_headers, ErrorInfo("permission_error", message), asked)
        event = Reported(lease, verdict, AT + now, status, "m", asked=asked, began=now)
        state = report(state, event, policy, now)
        for cooldown in state.active_cooldowns(now):
            assert cooldown.until <= now + cap(cooldown, policy) + 1e-3
            assert cooldown.scope in (Scope.ACCOUNT, Scope.MODEL_FAMILY, Scope.BETA)
        if verdict.success:
            assert state.available_at(now, asked.model, asked.betas) is None
    return state, now


@pytest.mark.promise("U6")
@pytest.mark.sweep
@pytest.mark.parametrize("name", ROWS)
def test_no_sequence_of_a_row_benches_longer_than_its_cap(name: str) -> None:
    @settings(max_examples=rounds(quick=300, full=1000), deadline=None, database=None)
    @given(policies, st.lists(st.tuples(ROWS[name], statuses, messages, asks, st.floats(0, 1e5)), max_size=5))  # fmt: skip
    def holds(policy: CooldownPolicy, heard: list[tuple[Headers, int, str, Asked, float]]) -> None:
        state, now = playing(policy, heard)
        longest = max((cap(c, policy) for c in state.cooldowns), default=0.0)
        then = now + longest + 1.0
        for asked in (FABLE, SONNET, Asked("gpt-5", ("context-1m-2025-08-07",))):
            assert state.available_at(then, asked.model, asked.betas) is None, "tried again by then"
        after = report(
            state, Reported(99, SUCCESS, AT + then, 200, "", asked=SONNET, began=then), policy, then
        )
        assert after.available_at(now, SONNET.model) is None, "and served, it is free at once"

    holds()


# -------------------------------------------------------------------- rows that the headers do not make

any_headers = st.one_of(*ROWS.values())
LIMITED = (b"retry-after", b"600")
EXAMPLES = rounds(quick=60, full=1000)


def told(kind: str, message: str = "") -> ErrorInfo:
    return ErrorInfo(kind, message)


BENCHING_NOBODY = {
    "overload": st.builds(
        lambda given, status, asked: judge(status, given, told("overloaded_error"), asked),
        any_headers, st.sampled_from([429, 500, 503, 529]), asks,
    ),
    "overload in a stream": st.builds(
        lambda given, asked: judge_early_error(told("overloaded_error"), given, asked),
        any_headers, asks,
    ),
    "5xx": st.builds(
        lambda given, status, asked: judge(status, given, told("api_error"), asked),
        any_headers, st.integers(500, 599), asks,
    ),
    "network": st.builds(judge_fault, st.sampled_from(FaultKind)),
    "about the request": st.builds(
        lambda given, status, asked: judge(status, given, told("invalid_request_error", "bad"), asked),
        any_headers, st.sampled_from([400, 404, 405, 409, 413, 422]), asks,
    ),
    "another 403": st.builds(
        lambda given, asked: judge(403, given, told("", "<html>a gateway's page</html>"), asked),
        any_headers, asks,
    ),
}  # fmt: skip

REFUSED = {
    "401": (401, told("authentication_error")),
    "402": (402, told("billing_error")),
    "403 organization": (403, told("permission_error", "OAuth is not allowed for this organization")),
    "400 disabled": (400, told("invalid_request_error", "This organization has been disabled.")),
    "400 credit": (400, told("invalid_request_error", "Your credit balance is too low")),
}  # fmt: skip


def after(verdict: Verdict, policy: CooldownPolicy) -> AccountState:
    return report(new_account(SPEC), Reported(1, verdict, AT, 429, "m"), policy, 0.0)


@pytest.mark.promise("U6")
@pytest.mark.sweep
@pytest.mark.parametrize("name", BENCHING_NOBODY)
def test_no_headers_make_somebody_rest_for_what_is_not_his(name: str) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(policies, BENCHING_NOBODY[name])
    def holds(policy: CooldownPolicy, verdict: Verdict) -> None:
        assert after(verdict, policy).cooldowns == ()

    assert after(judge(429, (LIMITED,)), POLICY).cooldowns, "which a limit does"
    holds()


@pytest.mark.sweep
@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_credential_rests_for_its_own_time_whatever_the_headers_say(name: str) -> None:
    status, error = REFUSED[name]

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(policies, any_headers, asks)
    def holds(policy: CooldownPolicy, given_headers: Headers, asked: Asked) -> None:
        (rest,) = after(judge(status, given_headers, error, asked), policy).cooldowns
        assert (rest.scope, rest.reason, rest.until) == (Scope.ACCOUNT, "auth", policy.auth)

    holds()


def test_the_figures_are_those_that_the_documentation_promises() -> None:
    assert RETRY_AFTER_CAP == 604800.0
    configured = model.Cooldown()
    assert (POLICY.base, POLICY.maximum, POLICY.auth) == (
        configured.base,
        configured.maximum,
        configured.auth,
    )


def test_a_refused_credential_rests_by_its_status() -> None:
    assert rest(judge(401, ())) == (300.0, "status")


def test_a_window_that_ends_in_this_moment_says_nothing_of_a_length() -> None:
    assert rest(judge(429, spent("5h", 0, retry_after="9"), asked=FABLE)) == (9.0, "retry-after")


@pytest.mark.parametrize("windows", [("5h", "7d"), ("7d", "5h")])
def test_without_resets_the_longest_of_the_spent_windows_is_the_bound(
    windows: tuple[str, str],
) -> None:
    found = tuple(pair for window in windows for pair in spent(window, None))
    refused = judge(429, (*found, (b"retry-after", b"9999999")), asked=FABLE)
    assert rest(refused) == (7 * DAY + 60, "retry-after")
