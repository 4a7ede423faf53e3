"""When clients are pointed here and when away: one decision a second."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.pointing import (
    CALM_SECONDS,
    FLIP_SECONDS,
    Action,
    ClientFile,
    Pointing,
    off,
    pointed,
    probed,
    stopped,
    taken,
    view,
)

FILE = ClientFile("/s", "pointed", "", ("ANTHROPIC_BASE_URL",))
POINTED = pointed(Pointing(), (FILE,))


def run(
    answers: str, state: Pointing = POINTED, start: float = 0.0, *, stay: bool = False
) -> tuple[Pointing, list[tuple[float, Action]]]:
    """One probe a second: `+` answered, `-` not. Gives back what was done when."""
    done: list[tuple[float, Action]] = []
    for second, answer in enumerate(answers):
        now = start + second
        state, action = probed(state, answer == "+", now, stay=stay)
        if action != "none":
            done.append((now, action))
        if action == "point":
            state = pointed(state, (FILE,))
    return state, done


def test_two_lost_probes_change_nothing() -> None:
    assert run("+--+--+--")[1] == []


def test_three_lost_probes_in_a_row_send_the_client_away() -> None:
    state, done = run("++---")
    assert done == [(4.0, "restore")]
    assert state.mode == "restored"
    assert "could not be reached" in state.reason


def test_three_good_probes_bring_it_back_but_not_before_ten_seconds() -> None:
    assert run("---" + "+" * 20)[1] == [(2.0, "restore"), (2.0 + CALM_SECONDS, "point")]
    assert run("---" + "-" * 15 + "++++")[1] == [(2.0, "restore"), (20.0, "point")]
    assert run("---" + "-" * 15 + "++-++-++-")[1] == [(2.0, "restore")]


def test_who_has_to_go_away_twice_in_a_minute_stays_away() -> None:
    state, done = run("---" + "+" * 12 + "---" + "+" * 200)
    assert [action for _, action in done] == ["restore", "point", "restore"]
    assert state.settled
    assert "twice within a minute" in state.reason


def test_after_a_calm_minute_it_counts_anew() -> None:
    _, done = run("---" + "+" * int(FLIP_SECONDS + 5) + "---" + "+" * 20)
    assert [action for _, action in done] == ["restore", "point", "restore", "point"]


def test_with_stay_nobody_is_sent_away() -> None:
    assert run("-" * 100, stay=True)[1] == []


@pytest.mark.parametrize(
    "state",
    [
        off("not managed"),
        stopped(POINTED, "stopping"),
        taken(POINTED, "/s", "changed"),
        pointed(Pointing(), (ClientFile("/s", "stood back", "why"),)),
        pointed(Pointing(), ()),
    ],
)
def test_who_stood_back_stays_so(state: Pointing) -> None:
    assert run("+-" * 50 + "-" * 10 + "+" * 100, state)[1] == []


def test_one_file_taken_leaves_the_others() -> None:
    other = ClientFile("/t", "pointed")
    state = taken(pointed(Pointing(), (FILE, other)), "/s", "somebody changed it")
    assert state.mode == "pointed"
    assert [file.did for file in state.files] == ["stood back", "pointed"]


@given(st.text("+-", max_size=300))
def test_there_are_never_two_flips_in_a_minute(answers: str) -> None:
    _, done = run(answers)
    away = [when for when, action in done if action == "restore"]
    back = [when for when, action in done if action == "point"]
    assert len(back) <= len(away) <= len(back) + 1
    for gone, returned in zip(away, back, strict=False):
        assert returned - gone >= CALM_SECONDS
    for first, second in itertools.pairwise(away):
        if second - first < FLIP_SECONDS:
            assert second == away[-1]
            assert not [when for when in back if when > second]


def test_the_view_has_state_file_and_reason() -> None:
    assert view(POINTED) == {
        "state": "pointed",
        "file": "/s",
        "reason": "",
        "files": [{"file": "/s", "state": "pointed", "keys": ["ANTHROPIC_BASE_URL"], "reason": ""}],
    }
    assert view(off("client.manage is false"))["reason"] == "client.manage is false"


def test_the_client_comes_back_after_ten_seconds_and_may_go_again_after_sixty() -> None:
    state, _ = run("---", start=1000.0)
    assert state.away_at == 1002.0
    back, done = run("+" * 11, state, start=1003.0)
    assert done == [(1012.0, "point")]
    for minute, settled in [(61.9, True), (62.0, False)]:
        again, _ = run("---", back, start=1000.0 + minute - 2.0 + 0.0)
        assert again.settled is settled, minute


def test_who_is_sent_away_is_said_to_be_file_by_file() -> None:
    other = ClientFile("/other", "stood back", "theirs")
    state, _ = run("---", pointed(Pointing(), (FILE, other)))
    assert [(file.path, file.did) for file in state.files] == [
        ("/s", "restored"),
        ("/other", "stood back"),
    ]
    assert view(state)["state"] == "restored"
    assert state.files[1].reason == "theirs"


def test_after_pointing_the_reason_is_that_of_a_file_that_is_ours() -> None:
    back = ClientFile("/other", "stood back", "theirs")
    state = pointed(Pointing(bad=2, settled=True), (back, FILE))
    assert (state.mode, state.reason, state.bad, state.settled) == ("pointed", "", 0, False)
    assert state.files == (back, FILE)
    nobody = pointed(state, (back,))
    assert (nobody.mode, nobody.reason, nobody.settled) == ("stood back", "theirs", True)


def test_a_stop_leaves_every_file_restored_and_says_why() -> None:
    state = stopped(POINTED, "stopping")
    assert (state.mode, state.reason, state.settled) == ("restored", "stopping", True)
    assert state.files == (ClientFile("/s", "restored"),)


def test_what_is_not_managed_is_off_for_good() -> None:
    state = off("client.manage is off")
    assert (state.mode, state.settled) == ("off", True)
    assert view(state)["state"] == "off"


def test_a_probe_sends_away_where_nobody_says_stay() -> None:
    state, action = POINTED, ""
    for now in range(3):
        state, action = probed(state, False, float(now))
    assert action == "restore"
