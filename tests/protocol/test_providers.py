"""Who rests, for how long, and what that leaves to choose from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.config.model import Config, Fallback, Provider
from protocol.providers import (
    LIMIT_SECONDS,
    LIMIT_SECONDS_MAX,
    SERVER_SECONDS_MAX,
    Fault,
    ModelsListed,
    ProviderFailed,
    Providers,
    ProviderServed,
    failed,
    fallback_view,
    fault_of,
    foreign_models,
    listed,
    listed_by,
    served,
)
from protocol.status_view import Clocks

AUTH_SECONDS = 300.0


def after(*events: ProviderFailed | ProviderServed, now: float = 100.0) -> Providers:
    state = Providers()
    for event in events:
        if isinstance(event, ProviderServed):
            state = served(state, event)
        else:
            state = failed(state, event, now, AUTH_SECONDS)
    return state


@pytest.mark.parametrize(
    ("fault", "told", "seconds"),
    [
        ("limited", None, LIMIT_SECONDS),
        ("limited", 0.0, 1.0),
        ("limited", 12.5, 12.5),
        ("limited", 10_000_000.0, LIMIT_SECONDS_MAX),
        ("auth", None, AUTH_SECONDS),
        ("server", None, 2.0),
        ("server", 20.0, 20.0),
        ("server", 10_000.0, SERVER_SECONDS_MAX),
    ],
)
def test_each_fault_rests_for_its_own_time(
    fault: Fault, told: float | None, seconds: float
) -> None:
    state = after(ProviderFailed("p", fault, told))
    rest = state.rest("p", 100.0)
    assert rest is not None
    assert (rest.until - 100.0, rest.firm) == (seconds, fault != "server")
    assert state.rest("p", rest.until) is None
    assert state.rest("q", 100.0) is None


@pytest.mark.parametrize("fault", ["request", "model"])
def test_what_is_about_the_request_benches_nobody(fault: Fault) -> None:
    assert after(ProviderFailed("p", fault)) == Providers()


def test_faults_in_a_row_double_the_rest_and_a_success_forgets_them() -> None:
    fault = ProviderFailed("p", "server")
    seconds = []
    for count in range(1, 12):
        rest = after(*[fault] * count).rest("p", 100.0)
        assert rest is not None
        seconds.append(rest.until - 100.0)
    assert seconds[:4] == [2.0, 4.0, 8.0, 16.0]
    assert max(seconds) == SERVER_SECONDS_MAX
    assert after(fault, fault, ProviderServed("p")) == Providers()


@pytest.mark.parametrize(
    ("status", "message", "fault"),
    [
        (400, "too long", "request"),
        (400, "API key not valid. Please pass a valid API key.", "auth"),
        (401, "", "auth"),
        (402, "Insufficient Balance", "auth"),
        (403, "", "auth"),
        (404, "no such model", "model"),
        (408, "", "server"),
        (413, "", "request"),
        (422, "", "request"),
        (429, "", "limited"),
        (498, "", "server"),
        (500, "", "server"),
        (503, "", "server"),
        (529, "", "server"),
    ],
)
def test_a_status_says_what_a_refusal_is_about(status: int, message: str, fault: Fault) -> None:
    assert fault_of(status, message) == fault


@pytest.mark.promise("U7")
@given(st.lists(st.tuples(st.sampled_from(["limited", "auth", "server", "request"]), st.none() | st.floats(0, 1e9)), max_size=30))  # fmt: skip
def test_no_history_makes_a_rest_that_does_not_end(
    history: list[tuple[Fault, float | None]],
) -> None:
    state = after(*(ProviderFailed("p", fault, told) for fault, told in history))
    rest = state.rest("p", 100.0)
    assert rest is None or 1.0 <= rest.until - 100.0 <= LIMIT_SECONDS_MAX


CONFIG = Config(
    providers=(
        Provider("own", "http://a", models=("x", "y")),
        Provider("asks", "http://b"),
    ),
    fallbacks=(Fallback("asks", "m"), Fallback("own", "x")),
)


def test_configured_names_come_before_a_providers_own_list() -> None:
    state = listed(Providers(), ModelsListed("asks", ("y", "z")))
    state = listed(state, ModelsListed("own", ("never",)))
    models = foreign_models(CONFIG, state)
    assert [(one.name, one.provider) for one in models] == [
        ("x", "own"),
        ("y", "own"),
        ("y", "asks"),
        ("z", "asks"),
    ]
    assert listed_by(models) == {"x": "own", "y": "own", "z": "asks"}
    gone = listed(state, ModelsListed("asks", ()))
    assert [one.name for one in foreign_models(CONFIG, gone)] == ["x", "y"]


def test_the_status_shows_the_fallbacks_in_their_order() -> None:
    state = after(ProviderFailed("own", "limited", 60.0))
    view = fallback_view(CONFIG, state, Clocks(110.0, 1_790_000_000.0))
    assert view == [
        {"provider": "asks", "model": "m", "state": "available"},
        {
            "provider": "own",
            "model": "x",
            "state": "cooling",
            "reason": "limited",
            "until": "2026-09-21T14:14:10Z",
        },
    ]
