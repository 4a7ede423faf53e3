"""Error answers say what Anthropic's say."""

from __future__ import annotations

import json

import pytest

from server.scripted import (
    Answer,
    KeyLimit,
    Window,
    error,
    forbidden,
    gateway_page,
    overloaded,
    rate_limited,
    server_error,
    unauthorized,
    unified_headers,
    window_spent,
)

PREFIX = "anthropic-ratelimit-unified-"


@pytest.mark.parametrize(
    ("answer", "status", "kind"),
    [
        (rate_limited(), 429, "rate_limit_error"),
        (overloaded(), 529, "overloaded_error"),
        (unauthorized(), 401, "authentication_error"),
        (forbidden(), 403, "permission_error"),
        (server_error(), 500, "api_error"),
        (server_error(503), 503, "api_error"),
        (error(404), 404, "not_found_error"),
        (error(400, "policy_blocked"), 400, "policy_blocked"),
    ],
)
def test_an_error_has_the_type_of_its_status_unless_told(
    answer: Answer, status: int, kind: str
) -> None:
    body = json.loads(answer.body)
    assert answer.status == status
    assert body["type"] == "error"
    assert body["error"]["type"] == kind
    assert body["request_id"] == answer.header("request-id")


def test_a_rate_limit_without_evidence_has_no_header_to_go_by() -> None:
    names = {name for name, _ in rate_limited().headers}
    assert names == {"content-type", "request-id"}


def test_a_rate_limit_carries_what_evidence_it_is_given() -> None:
    answer = rate_limited(
        retry_after=7,
        should_retry=False,
        limits={"requests": KeyLimit(limit=50, remaining=0, resets_at="2026-11-21T10:00:00Z")},
    )
    assert answer.header("retry-after") == "7"
    assert answer.header("x-should-retry") == "false"
    assert answer.header("anthropic-ratelimit-requests-remaining") == "0"
    assert answer.header("anthropic-ratelimit-requests-reset") == "2026-11-21T10:00:00Z"


def test_the_worst_window_speaks_for_all() -> None:
    headers = dict(
        unified_headers(
            {
                "5h": Window(utilization=0.99, resets_at=100),
                "7d": Window(utilization=0.9, resets_at=200, status="allowed_warning"),
            }
        )
    )
    assert headers[PREFIX + "representative-claim"] == "seven_day"
    assert headers[PREFIX + "status"] == "allowed_warning"
    assert headers[PREFIX + "reset"] == "200"
    assert headers[PREFIX + "5h-utilization"] == "0.99"


def test_the_overall_reading_can_be_overruled_and_added_to() -> None:
    headers = dict(
        unified_headers(
            {"7d_oi": Window(utilization=0.8, resets_at=9, surpassed_threshold=0.75)},
            status="rejected",
            extra={"overage-disabled-reason": "out_of_credits"},
        )
    )
    assert headers[PREFIX + "status"] == "rejected"
    assert headers[PREFIX + "7d_oi-surpassed-threshold"] == "0.75"
    assert headers[PREFIX + "overage-disabled-reason"] == "out_of_credits"
    assert headers[PREFIX + "representative-claim"] == "seven_day_overage_included"


def test_a_spent_window_is_rejected_until_its_reset() -> None:
    answer = window_spent("5h", resets_at=1_795_244_572, retry_after=30)
    assert answer.header(PREFIX + "5h-status") == "rejected"
    assert answer.header(PREFIX + "reset") == "1795244572"
    assert answer.header("retry-after") == "30"


def test_a_gateway_page_is_html() -> None:
    assert gateway_page(502, "Bad Gateway").header("content-type") == "text/html"
    assert b"502 Bad Gateway" in gateway_page(502, "Bad Gateway").body
