"""The front end's certificate: what is shown of it, and which one may replace which."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.server_certificate import (
    NAMES_MAX,
    Certificate,
    certificate_of,
    certificate_view,
    renewal,
)

NOW = 1_800_000_000.0
DAY = 86400.0


def lasting(begins: float, ends: float) -> Certificate:
    return Certificate("CN=a", ("a",), NOW + begins * DAY, NOW + ends * DAY)


VALID, EXPIRED, EARLY = lasting(-1, 1), lasting(-9, -1), lasting(1, 9)


@pytest.mark.parametrize(
    ("new", "in_force", "reason"),
    [
        (VALID, VALID, None),
        (VALID, EXPIRED, None),
        (VALID, None, None),
        (None, VALID, None),
        (EXPIRED, VALID, "it expired on 2027-01-14T08:00:00Z"),
        (EARLY, VALID, "it does not begin before 2027-01-16T08:00:00Z"),
        (EXPIRED, EXPIRED, None),
        (EARLY, EXPIRED, None),
        (EXPIRED, EARLY, None),
        (lasting(-9, 0), VALID, "it expired on 2027-01-15T08:00:00Z"),
        (lasting(0, 9), VALID, None),
        (EXPIRED, lasting(-9, 0), None),
    ],
)
def test_one_that_clients_refuse_replaces_none_that_they_take(
    new: Certificate | None, in_force: Certificate | None, reason: str | None
) -> None:
    refusal = renewal(new, in_force, NOW)
    assert (refusal.reason if refusal else None) == reason
    if reason and "begin" in reason:
        assert refusal is not None
        assert new is not None
        assert refusal.again_at == new.begins
        assert renewal(new, in_force, refusal.again_at) is None
    elif refusal:
        assert refusal.again_at == float("inf")


@given(st.lists(st.floats(-9, 9), min_size=4, max_size=4))
def test_what_is_valid_now_is_never_refused(days: list[float]) -> None:
    new, in_force = lasting(-1, 1), lasting(min(days[:2]), max(days[2:]))
    assert renewal(new, in_force, NOW) is None


def test_its_names_and_subject_are_read_as_ssl_tells_them() -> None:
    decoded = {
        "subject": ((("countryName", "NL"),), (("commonName", "box\x1b[31m"),)),
        "subjectAltName": (("DNS", "box"), ("IP Address", "::1"), ("email", "me@box")),
    }
    found = certificate_of(decoded, 1.0, 2.0)
    assert found.subject == "C=NL, CN=box\ufffd[31m"
    assert found.names == ("box", "::1")
    assert found.shown == "box, ::1"
    many = certificate_of({"subjectAltName": (("DNS", "a"),) * (NAMES_MAX + 5)}, 1.0, 2.0)
    assert len(many.names) == NAMES_MAX
    assert certificate_of({}, 1.0, 2.0).shown == "nobody"


def test_its_view_says_null_for_what_is_not_known() -> None:
    assert certificate_view(VALID, NOW, "") == {
        "subject": "CN=a",
        "names": ["a"],
        "not_before": "2027-01-14T08:00:00Z",
        "not_after": "2027-01-16T08:00:00Z",
        "loaded_at": "2027-01-15T08:00:00Z",
        "error": None,
    }
    unknown = certificate_view(None, NOW, "no")
    assert (unknown["subject"], unknown["names"], unknown["not_after"]) == (None, [], None)
    assert unknown["error"] == "no"
