"""The table: what an answer means, and for whom."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.accounts import Scope
from protocol.asked import Asked
from protocol.limits_evidence import read_retry_after, read_seconds
from protocol.peek import ErrorInfo
from protocol.request import Headers
from protocol.verdict import (
    SUCCESS,
    Action,
    FaultKind,
    Verdict,
    judge,
    judge_early_error,
    judge_fault,
)

LIMITED = (Action.NEXT, Scope.ACCOUNT, "rate_limited")
REFUSED = (Action.NEXT, Scope.ACCOUNT, "auth")
OVERLOADED = (Action.AGAIN, Scope.PROVIDER, "overloaded")
BROKEN = (Action.NEXT, Scope.PROVIDER, "server_error")
THE_REQUEST = (Action.DELIVER, Scope.REQUEST, "request_error")

FORBIDDEN = (Action.NEXT, Scope.REQUEST, "forbidden")
BURST = (Action.NEXT, Scope.ACCOUNT, "burst")

CREDENTIAL_ERRORS = ("permission_error", "authentication_error", "billing_error")

BY_STATUS = {
    **dict.fromkeys((400, 404, 405, 408, 409, 411, 412, 413, 414, 415, 422, 431, 451), THE_REQUEST),
    **dict.fromkeys((401, 402, 403), REFUSED),
    429: LIMITED,
    **dict.fromkeys((500, 501, 502, 503, 504, 520, 524), BROKEN),
    529: OVERLOADED,
}
ERROR_TYPES = [
    "", "invalid_request_error", "authentication_error", "billing_error", "permission_error",
    "not_found_error", "request_too_large", "rate_limit_error", "api_error", "timeout_error",
    "overloaded_error", "something_new",
]  # fmt: skip
RETRY_AFTERS: list[tuple[Headers, float | None]] = [
    ((), None),
    (((b"retry-after", b"30"),), 30.0),
    (((b"Retry-After", b" 0 "),), 0.0),
    (((b"retry-after", b"2.5"),), 2.5),
    (((b"retry-after", b"459202"),), 459202.0),
    (((b"retry-after", b"Wed, 21 Oct 2026 07:28:00 GMT"),), None),
    (((b"retry-after", b"-5"),), None),
    (((b"retry-after", b"1e3"),), None),
    (((b"retry-after", b"."),), None),
    (((b"retry-after", b"nan"),), None),
    (((b"retry-after", b"soon"), (b"retry-after", b"7")), 7.0),
    (((b"retry-after-ms", b"7000"),), None),
]


def row(verdict: Verdict) -> tuple[Action, Scope, str]:
    return verdict.action, verdict.scope, verdict.reason


@pytest.mark.parametrize("status", BY_STATUS)
@pytest.mark.parametrize("error_type", ERROR_TYPES)
def test_the_status_decides_unless_the_body_says_overloaded(status: int, error_type: str) -> None:
    for headers, seconds in RETRY_AFTERS:
        verdict = judge(status, headers, ErrorInfo(error_type, "message"))
        expected = OVERLOADED if error_type == "overloaded_error" else BY_STATUS[status]
        if status == 403 and error_type not in (*CREDENTIAL_ERRORS, "overloaded_error"):
            expected = FORBIDDEN
        assert row(verdict) == expected
        assert not verdict.success
        if expected in (LIMITED, OVERLOADED, BROKEN):
            assert verdict.retry_after == seconds
        else:
            assert verdict.retry_after is None


@pytest.mark.parametrize("status", [200, 201, 204, 206, 302, 304, 307])
def test_everything_below_400_is_a_success(status: int) -> None:
    assert judge(status, ((b"retry-after", b"3"),)) == SUCCESS
    assert SUCCESS.success


def test_only_a_failure_of_the_account_benches_it() -> None:
    objection = ErrorInfo("permission_error", "no")
    benching = {status for status in BY_STATUS if judge(status, (), objection).benches}
    assert benching == {401, 402, 403, 429}
    assert not SUCCESS.benches
    assert not any(judge_fault(kind).benches for kind in FaultKind)


REPEAT = (b"x-should-retry", b"true")


@pytest.mark.parametrize(
    ("headers", "benches"),
    [
        ((REPEAT,), False),
        (((b"X-Should-Retry", b" TRUE "),), False),
        ((REPEAT, (b"request-id", b"req_1")), False),
        ((REPEAT, (b"retry-after", b"9")), True),
        ((REPEAT, (b"anthropic-ratelimit-unified-status", b"rejected")), True),
        ((REPEAT, (b"Anthropic-Ratelimit-Requests-Remaining", b"0")), True),
        (((b"x-should-retry", b"false"),), True),
        ((), True),
    ],
)
def test_a_429_with_nothing_but_should_retry_benches_nobody(
    headers: Headers, benches: bool
) -> None:
    verdict = judge(429, headers, ErrorInfo("rate_limit_error", "m"))
    assert verdict.action is Action.NEXT
    assert verdict.benches is benches


LONG = Asked("claude-opus-4-8", ("oauth-2025-04-20", "context-1m-2025-08-07"))


@pytest.mark.parametrize("status", [400, 403, 429])
@pytest.mark.parametrize(
    "message",
    [
        "Extra usage is required for long context requests.",
        "extra usage is REQUIRED FOR LONG CONTEXT",
        "Extra usage must be enabled to use 1M context.",
        "The long context beta is not yet available for this subscription.",
    ],
)
def test_a_missing_long_context_entitlement_is_about_that_beta_alone(
    status: int, message: str
) -> None:
    headers = ((b"retry-after", b"60"),)
    verdict = judge(status, headers, ErrorInfo("rate_limit_error", message), LONG)
    assert row(verdict) == (Action.NEXT, Scope.BETA, "long_context")
    assert verdict.target == "context-1m"
    plain = judge(status, headers, ErrorInfo("rate_limit_error", message), Asked("claude-x"))
    assert row(plain) == (Action.NEXT, Scope.REQUEST, "long_context")
    assert not plain.benches


PREFIX = b"anthropic-ratelimit-unified-"


def unified(**fields: str) -> Headers:
    """`unified(w5h_status="rejected")`: the header of the field, without its leading `w`."""
    return tuple(
        (PREFIX + name.removeprefix("w").replace("_", "-").encode(), value.encode())
        for name, value in fields.items()
    )


HEALTHY = unified(status="allowed", w5h_status="allowed", w5h_utilization="0.3", w5h_reset="1000")
SPENT_5H = unified(status="rejected", w5h_status="rejected", w5h_reset="1000")
TOP_SPENT = (
    *unified(status="rejected", w5h_status="allowed"),
    (PREFIX + b"7d_oi-status", b"rejected"),
    (PREFIX + b"7d_oi-reset", b"2000"),
)
RETRY = (b"retry-after", b"20")
FABLE, SONNET = Asked("claude-fable-5-2"), Asked("claude-sonnet-5-5")


@pytest.mark.parametrize(
    ("headers", "asked", "expected", "target"),
    [
        # (a) a window says no
        (SPENT_5H, SONNET, (Action.NEXT, Scope.ACCOUNT, "window_5h"), ""),
        ((*SPENT_5H, RETRY, REPEAT), SONNET, (Action.NEXT, Scope.ACCOUNT, "window_5h"), ""),
        (unified(w7d_utilization="1.02"), SONNET, (Action.NEXT, Scope.ACCOUNT, "window_7d"), ""),
        (unified(wnew_status="rejected"), SONNET, (Action.NEXT, Scope.ACCOUNT, "window_new"), ""),
        (
            unified(status="rejected", representative_claim="seven_day", reset="9"),
            SONNET,
            (Action.NEXT, Scope.ACCOUNT, "window_7d"),
            "",
        ),
        (unified(status="rejected"), SONNET, (Action.NEXT, Scope.ACCOUNT, "window_unified"), ""),
        (
            ((b"anthropic-ratelimit-requests-limit", b"50"),
             (b"anthropic-ratelimit-requests-remaining", b"0"), RETRY),
            SONNET,
            (Action.NEXT, Scope.ACCOUNT, "window_requests"),
            "",
        ),
        (TOP_SPENT, FABLE, (Action.NEXT, Scope.MODEL_FAMILY, "window_7d_oi"), "fable"),
        (TOP_SPENT, Asked("claude-mythos-1"),
         (Action.NEXT, Scope.MODEL_FAMILY, "window_7d_oi"), "mythos"),
        (TOP_SPENT, Asked(), (Action.NEXT, Scope.MODEL_FAMILY, "window_7d_oi"), "fable"),
        (TOP_SPENT, Asked("newest"), (Action.NEXT, Scope.MODEL_FAMILY, "window_7d_oi"), "newest"),
        ((*TOP_SPENT, *SPENT_5H), FABLE, (Action.NEXT, Scope.ACCOUNT, "window_5h"), ""),
        (
            ((PREFIX + b"7d_opus-status", b"rejected"),),
            Asked("claude-3-opus-20240229"),
            (Action.NEXT, Scope.MODEL_FAMILY, "window_7d_opus"),
            "opus",
        ),
        # another family's window explains nothing, unless upstream says that it does
        (((PREFIX + b"7d_oi-status", b"rejected"), RETRY), SONNET, BURST, ""),
        (
            (*unified(status="rejected", representative_claim="seven_day_overage_included"), RETRY),
            SONNET,
            (Action.NEXT, Scope.MODEL_FAMILY, "window_7d_oi"),
            "sonnet",
        ),
        # what is paid beyond the windows is off on most accounts; that is no reason
        ((*HEALTHY, *unified(overage_status="rejected"), RETRY), SONNET, BURST, ""),
        # (b) only retry-after
        ((RETRY,), SONNET, LIMITED, ""),
        ((RETRY, REPEAT), SONNET, LIMITED, ""),
        # (c) healthy windows and a short retry-after
        ((*HEALTHY, RETRY), SONNET, BURST, ""),
        ((*HEALTHY, (b"retry-after", b"60")), SONNET, BURST, ""),
        ((*HEALTHY, (b"retry-after", b"61")), SONNET, LIMITED, ""),
        # (d) nothing but x-should-retry
        ((REPEAT,), SONNET, (Action.NEXT, Scope.REQUEST, "windowless"), ""),
        # (e) nothing at all
        ((), SONNET, LIMITED, ""),
        ((*HEALTHY, REPEAT), SONNET, LIMITED, ""),
    ],
)  # fmt: skip
def test_the_rows_of_a_429(
    headers: Headers, asked: Asked, expected: tuple[Action, Scope, str], target: str
) -> None:
    verdict = judge(429, headers, ErrorInfo("rate_limit_error", "m"), asked)
    assert row(verdict) == expected
    assert verdict.target == target
    assert verdict.benches is (verdict.scope is not Scope.REQUEST)
    assert verdict.retry_after == read_retry_after(headers)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ErrorInfo("permission_error", "oauth_not_allowed_for_organization"), REFUSED),
        (ErrorInfo("oauth_not_allowed_for_organization", "no"), REFUSED),
        (ErrorInfo("forbidden", "Your organization was disabled"), REFUSED),
        (ErrorInfo("", "OAuth token has been revoked"), REFUSED),
        (ErrorInfo("permission_error", "Your account does not have access."), REFUSED),
        (ErrorInfo("permission_error", "You may not use the model claude-fable-5-2."), FORBIDDEN),
        (ErrorInfo("", ""), FORBIDDEN),
    ],
)
def test_a_403_benches_only_when_it_speaks_of_the_credential(
    error: ErrorInfo, expected: tuple[Action, Scope, str]
) -> None:
    verdict = judge(403, (), error)
    assert row(verdict) == expected
    assert verdict.benches is (expected == REFUSED)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("This organization has been disabled.", REFUSED),
        ("Your credit balance is too low to access the Anthropic API.", REFUSED),
        ("messages.0.role: Input should be 'user' or 'assistant'", THE_REQUEST),
        ("prompt is too long: 300000 tokens > 200000 maximum", THE_REQUEST),
        ("", THE_REQUEST),
    ],
)
def test_a_400_about_the_account_is_not_the_requests_fault(
    message: str, expected: tuple[Action, Scope, str]
) -> None:
    assert row(judge(400, (), ErrorInfo("invalid_request_error", message))) == expected


@pytest.mark.parametrize(
    ("error_type", "expected"),
    [
        ("overloaded_error", OVERLOADED),
        ("rate_limit_error", LIMITED),
        ("authentication_error", REFUSED),
        ("billing_error", REFUSED),
        ("permission_error", REFUSED),
        ("api_error", BROKEN),
        ("timeout_error", BROKEN),
        ("invalid_request_error", THE_REQUEST),
        ("not_found_error", THE_REQUEST),
        ("something_new", THE_REQUEST),
        ("", THE_REQUEST),
    ],
)
def test_an_early_error_event_means_what_its_status_would_have_meant(
    error_type: str, expected: tuple[Action, Scope, str]
) -> None:
    assert row(judge_early_error(ErrorInfo(error_type, "m"))) == expected


def test_an_early_limit_is_judged_with_the_windows_of_its_200() -> None:
    verdict = judge_early_error(ErrorInfo("rate_limit_error", "m"), SPENT_5H, SONNET)
    assert row(verdict) == (Action.NEXT, Scope.ACCOUNT, "window_5h")


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        (FaultKind.CONNECT, Action.NEXT),
        (FaultKind.NAME, Action.NEXT),
        (FaultKind.TIMEOUT, Action.NEXT),
        (FaultKind.DISCONNECT, Action.NEXT),
        (FaultKind.PROTOCOL, Action.NEXT),
        (FaultKind.CERTIFICATE, Action.STOP),
        (FaultKind.NO_CONNECTION, Action.STOP),
    ],
)
def test_a_fault_below_http_is_the_providers(kind: FaultKind, action: Action) -> None:
    assert row(judge_fault(kind)) == (action, Scope.PROVIDER, kind.value)


@given(st.binary())
def test_no_retry_after_makes_it_raise_and_none_is_negative(value: bytes) -> None:
    seconds = read_retry_after(((b"retry-after", value),))
    assert seconds == read_seconds(value)
    assert seconds is None or seconds >= 0


def test_a_retry_after_of_thousands_of_digits_is_endless() -> None:
    assert read_seconds(b"9" * 5000) == math.inf


def test_an_explanation_calls_actions_and_faults_by_their_documented_words() -> None:
    assert [action.value for action in Action] == ["deliver", "next", "again", "stop"]
    assert {kind.name: judge_fault(kind).reason for kind in FaultKind} == {
        "CONNECT": "connect",
        "NAME": "dns",
        "CERTIFICATE": "certificate",
        "TIMEOUT": "timeout",
        "DISCONNECT": "disconnect",
        "PROTOCOL": "protocol",
        "NO_CONNECTION": "no_connection",
    }
    assert SUCCESS.reason == "ok"


def test_half_of_a_wording_is_no_missing_entitlement() -> None:
    """A request that is too long says something like it, and is the client's to shorten."""
    too_long = ErrorInfo("invalid_request_error", "prompt is too long for long context requests")
    assert row(judge(400, (), too_long)) == THE_REQUEST
    no_credit = ErrorInfo("invalid_request_error", "extra usage is off")
    assert row(judge(400, (), no_credit)) == THE_REQUEST


def test_a_403_that_speaks_of_oauth_is_about_the_login_whatever_its_type() -> None:
    said = ErrorInfo("invalid_request_error", "This OAuth token may not be used here.")
    assert row(judge(403, (), said)) == REFUSED


def test_an_early_billing_error_is_the_accounts_even_when_it_names_a_model() -> None:
    said = ErrorInfo("billing_error", "no credit for this model")
    assert row(judge_early_error(said)) == REFUSED
