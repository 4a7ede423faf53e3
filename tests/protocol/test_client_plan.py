"""What `[client]` asks for."""

from __future__ import annotations

import pytest

from protocol.client_plan import LONGEST_RELEASE, ClientPlan, plan
from tests.kit.program import configured

ACCOUNT = '[[account]]\nname = "a"\napi_key = "key-a"\n'


def planned(text: str = "", adopted: str = "", *, tls: bool = False) -> ClientPlan:
    made = plan(configured(text), "/home/me/settings.json", adopted, tls=tls)
    assert made is not None
    return made


def test_without_management_there_is_no_plan() -> None:
    assert plan(configured("[client]\nmanage = false"), "/s", "", tls=False) is None


def test_the_defaults_point_the_usual_file() -> None:
    made = planned()
    assert made.files == ("/home/me/settings.json",)
    assert dict(made.environment)["ENABLE_TOOL_SEARCH"] == "true"
    assert (made.direct_url, made.release_after) == ("https://api.anthropic.com", 5.0)
    assert not made.blocked
    assert not made.stay


def test_the_direct_url_may_be_named() -> None:
    assert planned('[client]\ndirect_url = "https://d.test"').direct_url == "https://d.test"
    assert planned('[upstream]\nbase_url = "https://u.test"').direct_url == "https://u.test"


def test_a_stop_waits_no_longer_than_half_a_minute() -> None:
    assert planned("[client]\nrelease_after = 900").release_after == LONGEST_RELEASE


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("", "never"),
        (ACCOUNT, "auto"),
        (ACCOUNT + '[client]\nauth_token = "never"', "never"),
        (ACCOUNT + '[access]\ntoken = "open-sesame"', "always"),
        (ACCOUNT + "[access]\nkeys = true", "always"),
    ],
)
def test_a_key_is_given_where_there_are_accounts(text: str, token: str) -> None:
    assert planned(text).token == token


@pytest.mark.parametrize(("text", "pool", "token"), [("", True, "auto"), (ACCOUNT, False, "never")])
def test_who_knows_of_other_accounts_than_the_configured_ones_says_so(
    text: str, pool: bool, token: str
) -> None:
    made = plan(configured(text), "/s", "", tls=False, pool=pool)
    assert made is not None
    assert made.token == token


def test_what_is_pointed_and_how_may_be_said() -> None:
    made = planned('[client]\nsettings = ["/a.json"]\nreplace = true')
    assert (made.files, made.replace) == (("/a.json",), True)
    assert not planned().replace


@pytest.mark.parametrize(
    ("text", "tls", "reason"),
    [
        ("", True, "server.tls_certificate"),
        ('[access]\ntoken = "open-sesame"', False, "access token"),
        (ACCOUNT + '[access]\ntoken = "t-o-k-e-n"\n[client]\nauth_token = "never"', False, "never"),
        (ACCOUNT + '[server]\nhost = "10.0.0.5"\n[access]\nkeys = true', False, "access.keys"),
        (ACCOUNT + '[server]\nhost = "10.0.0.5"\n[access]\ntoken = "open-sesame"', False, ""),
        (ACCOUNT + '[server]\nhost = "0.0.0.0"\n[access]\nkeys = true', False, ""),
        (ACCOUNT + '[server]\nhost = "::"\n[access]\nkeys = true', False, ""),
        (
            ACCOUNT + '[access]\nkeys = true\n[client]\nauth_token = "never"',
            False,
            "a key of this proxy",
        ),
        ("[access]\nkeys = true", False, "a key of this proxy would have to travel"),
        (ACCOUNT + '[access]\ntoken = "open-sesame"', False, ""),
    ],
)
def test_a_client_is_not_sent_where_it_would_be_turned_away(
    text: str, tls: bool, reason: str
) -> None:
    blocked = planned(text, tls=tls).blocked
    assert reason in blocked
    assert bool(blocked) is bool(reason)


def test_an_adopted_upstream_counts_only_while_it_is_in_force() -> None:
    pointed = '[upstream]\nbase_url = "https://gateway.test"\n'
    assert planned(pointed, "https://gateway.test").adopted == "https://gateway.test"
    assert planned(pointed + ACCOUNT, "https://gateway.test").adopted == ""
    assert planned("", "https://gateway.test").adopted == ""


def test_a_client_stays_only_where_that_is_configured() -> None:
    assert planned('[client]\non_down = "stay"\n').stay
    assert not planned('[client]\non_down = "restore"\n').stay


def test_the_longest_release_is_half_a_minute() -> None:
    assert planned("[client]\nrelease_after = 29\n").release_after == 29.0
    assert planned("[client]\nrelease_after = 300\n").release_after == 30.0
