"""Every check: a machine on which it speaks, and one beside it on which it is silent.

A row is a symptom, what is wrong, and the nearest thing that is not. The level is `wrong` where the
row does not say `note`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from protocol.config import Client, Config, Server
from supervisor.doctor.checks import AREAS, findings
from supervisor.doctor.facts import (
    AccountFact,
    Breach,
    Facts,
    FileFact,
    PickerFact,
    SettingsFact,
    UpstreamFact,
)
from supervisor.doctor.finding import SYMPTOMS, Finding

URL = "http://127.0.0.1:4080"
SETTINGS = "/home/me/.claude/settings.json"
NOW = 1_800_000_000.0
TROUBLESHOOTING = Path(__file__).parents[3] / "docs" / "troubleshooting.md"

POINTED = SettingsFact(SETTINGS, URL)
WELL = Facts(
    config=Config(),
    now=NOW,
    installed="0.1.0",
    running_version="0.1.0",
    url=URL,
    settings=(POINTED,),
    shell_settings=SETTINGS,
    state_directory="/home/me/.local/state/llm-supervisor",
    status={"client": {"files": [{"file": SETTINGS, "state": "pointed", "reason": ""}]}},
    files=(FileFact("/state", directory=True, modified_at=NOW),),
    upstream=UpstreamFact("https://api.anthropic.com", date=NOW, asked_at=NOW),
    breaches=(),
)
"""A machine on which all is well, with the program running in passthrough mode."""


def _account(**fields: Any) -> dict[str, Any]:
    """One account as `/status` has it, well unless `fields` say otherwise."""
    return {"name": "work", "state": "available", "cooldowns": [], "last_error": None, **fields}


def _status(**fields: Any) -> dict[str, Any]:
    return {**WELL.status, **fields}


class Row(NamedTuple):
    symptom: str
    wrong: dict[str, Any]
    well: dict[str, Any]
    says: str
    level: str = "wrong"


PAIR = (AccountFact("work", "oauth", mark="a"), AccountFact("home", "oauth", mark="a"))
COOLING = [{"reason": "auth", "scope": "account"}]
SEEDED = PickerFact("/cache.json", URL, ("gpt-claude",))
TLS_STATUS = {
    "client": {"files": [], "reason": "this program speaks TLS"},
    "tls": {"names": ["box.test"], "error": None},
}
STATE = FileFact("/state", directory=True)
SECRET = FileFact("/state/accounts.json")

ROWS = (
    Row(
        "settings-unreadable",
        {"settings": (SettingsFact(SETTINGS, problem=f"{SETTINGS} is not JSON"),)},
        {},
        "is not JSON",
    ),
    Row(
        "settings-dead-port",
        {"settings": (SettingsFact(SETTINGS, "http://127.0.0.1:1", dead=True),), "url": ""},
        {"settings": (SettingsFact(SETTINGS, "http://127.0.0.1:1"),), "url": ""},
        "where nobody answers",
    ),
    Row("settings-elsewhere", {"settings": (SettingsFact(SETTINGS),)}, {}, "the upstream itself"),
    Row(
        "settings-elsewhere",
        {"settings": (SettingsFact(SETTINGS, has_directory=False),)},
        {"settings": (SettingsFact(SETTINGS, has_directory=False),), "url": ""},
        "the upstream itself",
        "note",
    ),
    Row(
        "settings-elsewhere",
        {
            "settings": (SettingsFact(SETTINGS),),
            "status": {"client": {"state": "off", "reason": "--no-client was said"}},
        },
        {"settings": (SettingsFact(SETTINGS, URL),), "status": {"client": None}},
        "--no-client was said",
        "note",
    ),
    Row(
        "settings-elsewhere",
        {"settings": (SettingsFact(SETTINGS, "https://other:4080"),), "status": TLS_STATUS},
        {"settings": (SettingsFact(SETTINGS, "https://box.test:4080"),), "status": TLS_STATUS},
        "https://other:4080",
        "note",
    ),
    Row(
        "settings-elsewhere",
        {
            "settings": (SettingsFact(SETTINGS, "http://other"),),
            "status": {"client": {"files": [{"file": SETTINGS, "reason": "points elsewhere"}]}},
        },
        {
            "settings": (SettingsFact(SETTINGS, "http://other"),),
            "config": Config(client=Client(manage=False)),
        },
        "points at http://other, not at http://127.0.0.1:4080: points elsewhere",
    ),
    Row(
        "settings-other-directory",
        {"status": {"client": {"files": [{"file": "/other/settings.json", "state": "pointed"}]}}},
        {},
        "looks after /other/settings.json",
    ),
    Row(
        "shell-base-url",
        {"environ": {"ANTHROPIC_BASE_URL": "http://other"}, "settings": (SettingsFact(SETTINGS),)},
        {"environ": {"ANTHROPIC_BASE_URL": f"{URL}/"}, "settings": (SettingsFact(SETTINGS),)},
        "is http://other in this shell",
    ),
    Row(
        "shell-base-url",
        {"environ": {"ANTHROPIC_BASE_URL": "http://other"}},
        {},
        "settings win over it",
        "note",
    ),
    Row(
        "shell-cloud",
        {"environ": {"CLAUDE_CODE_USE_BEDROCK": "1"}},
        {"environ": {"CLAUDE_CODE_USE_BEDROCK": "0"}},
        "CLAUDE_CODE_USE_BEDROCK is set in this shell",
    ),
    Row(
        "shell-cloud",
        {"settings": (msgspec.structs.replace(POINTED, environment=("CLAUDE_CODE_USE_VERTEX",)),)},
        {},
        "set in Claude Code's settings",
    ),
    Row(
        "shell-key",
        {"environ": {"ANTHROPIC_API_KEY": "x"}, "has_login": True},
        {
            "environ": {"ANTHROPIC_API_KEY": "x"},
            "has_login": True,
            "accounts": (AccountFact("work", "api_key"),),
        },
        "takes the place of Claude Code's login",
        "note",
    ),
    Row(
        "picker-cache",
        {"models": ("gpt-claude",), "picker": PickerFact("/cache.json", URL, ())},
        {"models": ("gpt-claude",), "picker": SEEDED},
        "lacks gpt-claude",
    ),
    Row(
        "picker-cache",
        {"models": ("gpt-claude",), "picker": msgspec.structs.replace(SEEDED, base_url="http://x")},
        {"models": (), "picker": msgspec.structs.replace(SEEDED, base_url="http://x")},
        "is for http://x",
    ),
    Row(
        "picker-cache",
        {"models": ("gpt-claude",), "picker": PickerFact("/c", problem="/c is not JSON")},
        {},
        "is not JSON",
    ),
    Row(
        "picker-cache",
        {"models": ("gpt-claude",), "has_login": True},
        {"models": ("gpt-claude",), "has_login": False},
        "has never been told",
        "note",
    ),
    Row("config-invalid", {"config_errors": ("c.toml: server.port: 0",)}, {}, "server.port"),
    Row(
        "config-refused",
        {"status": _status(config={"error": "server.port"})},
        {"status": _status(config={"error": None})},
        "goes on with its old configuration: server.port",
    ),
    Row("not-running", {"url": ""}, {}, "nothing is running"),
    Row(
        "not-answering",
        {"url": "", "silent": "pid 7 at http://x"},
        {},
        "does not answer: pid 7 at http://x",
    ),
    Row("port-taken", {"port_owner": "pid 7 (nginx)"}, {}, "port 4080 belongs to pid 7 (nginx)"),
    Row(
        "version-differs",
        {"running_version": "0.0.9"},
        {"running_version": "", "url": ""},
        "version 0.0.9 runs, 0.1.0 is installed",
    ),
    Row(
        "actor-trouble",
        {"status": _status(actors=[{"name": "vault", "state": "failed", "restarts": 0}])},
        {"status": _status(actors=[{"name": "vault", "state": "running", "restarts": 0}])},
        "vault is failed",
    ),
    Row(
        "actor-trouble",
        {
            "status": _status(
                actors=[
                    {
                        "name": "vault",
                        "state": "running",
                        "restarts": 2,
                        "last_crash": {"type": "OSError", "message": "no space"},
                    }
                ]
            )
        },
        {},
        "restarted 2 times; the last crash: OSError: no space",
        "note",
    ),
    Row(
        "log-lines-lost",
        {"status": _status(log={"dropped_lines": 3})},
        {"status": _status(log={"dropped_lines": 0})},
        "3 lines",
        "note",
    ),
    Row("front-door", {"front_door": "a timeout"}, {}, "does not answer as it should: a timeout"),
    Row(
        "contract-broken",
        {"breaches": (Breach("streams are not held back", "they are"),)},
        {"breaches": None},
        "streams are not held back: they are",
    ),
    Row("service-stale", {"service_stale": "x starts /gone"}, {}, "x starts /gone"),
    Row("store-unreadable", {"account_problems": ("accounts.json: not JSON",)}, {}, "not JSON"),
    Row(
        "login-needed",
        {"accounts": (AccountFact("work", "oauth", "needs_login", problem="no login in it"),)},
        {"accounts": (AccountFact("work", "oauth", "disabled"),)},
        "account work needs a login: no login in it",
    ),
    Row(
        "login-needed",
        {
            "accounts": (AccountFact("work", "oauth"),),
            "status": _status(accounts=[_account(state="needs_login")]),
        },
        {"accounts": (AccountFact("work", "oauth"),), "status": _status(accounts=[_account()])},
        "account work needs a login",
    ),
    Row(
        "login-expired",
        {"accounts": (AccountFact("work", "oauth", expires_at=NOW - 5),)},
        {"accounts": (AccountFact("work", "oauth", expires_at=NOW + 5),)},
        "has expired",
    ),
    Row(
        "login-expired",
        {
            "accounts": (AccountFact("work", "oauth", expires_at=NOW - 5, renewable=False),),
            "url": "",
        },
        {"accounts": (AccountFact("work", "oauth", "disabled", NOW - 5),)},
        "nothing can renew it",
    ),
    Row(
        "login-expired",
        {"accounts": (AccountFact("work", "oauth", expires_at=NOW - 5),), "url": ""},
        {"accounts": (AccountFact("work", "oauth"),), "url": ""},
        "has expired",
        "note",
    ),
    Row(
        "login-shared",
        {"accounts": PAIR},
        {
            "accounts": (
                PAIR[0],
                AccountFact("home", "oauth", mark="b"),
                AccountFact("k", "api_key"),
            )
        },
        "accounts work and home have the same login",
    ),
    Row(
        "account-refused",
        {
            "status": _status(
                accounts=[_account(state="cooling", cooldowns=COOLING, last_error="no")]
            )
        },
        {"status": _status(accounts=[_account(state="cooling", cooldowns=[{"reason": "burst"}])])},
        "refuses account work: no",
    ),
    Row(
        "key-without-credit",
        {
            "status": _status(
                accounts=[
                    _account(
                        state="cooling", cooldowns=COOLING, last_error="credit balance is too low"
                    )
                ]
            )
        },
        {"status": _status(accounts=[_account(last_error="credit balance is too low")])},
        "account work has no credit",
    ),
    Row(
        "clock-skew",
        {"upstream": UpstreamFact("u", date=NOW - 300, asked_at=NOW)},
        {"upstream": UpstreamFact("u", date=NOW - 30, asked_at=NOW)},
        "300 s ahead of the upstream's",
    ),
    Row(
        "clock-skew",
        {"upstream": UpstreamFact("u", date=NOW + 300, asked_at=NOW)},
        {},
        "300 s behind the upstream's",
    ),
    Row(
        "clock-skew",
        {"upstream": None, "files": (FileFact("/f", modified_at=NOW + 500),)},
        {"upstream": None, "files": (FileFact("/f", modified_at=NOW + 5),)},
        "/f was written 500 s in the future",
    ),
    Row(
        "state-rights",
        {"files": (msgspec.structs.replace(STATE, open_to_others=True),)},
        {"files": (STATE,)},
        "others can look into /state",
    ),
    Row(
        "state-rights",
        {"files": (msgspec.structs.replace(STATE, writable=False),)},
        {},
        "/state cannot be written",
    ),
    Row(
        "secret-rights",
        {"files": (msgspec.structs.replace(SECRET, open_to_others=True),)},
        {"files": (FileFact("/config.toml", secret=False, open_to_others=True),)},
        "others can read /state/accounts.json",
    ),
    Row(
        "settings-rights",
        {"settings": (msgspec.structs.replace(POINTED, writable=False),)},
        {
            "settings": (msgspec.structs.replace(POINTED, writable=False),),
            "config": Config(client=Client(manage=False)),
        },
        "cannot be written",
    ),
    Row("disk-low", {"free_bytes": 10 * 2**20}, {"free_bytes": 300 * 2**20}, "10 MiB are left"),
    Row("disk-low", {"free_files": 7}, {"free_files": 5000}, "7 files are left"),
    Row(
        "upstream-unreachable",
        {"upstream": UpstreamFact("https://u", "dns", "no such name")},
        {"upstream": None},
        "https://u cannot be reached (dns): no such name",
    ),
    Row(
        "certificate-refused",
        {"upstream": UpstreamFact("https://u", "certificate", "self-signed")},
        {},
        "is not trusted: self-signed",
    ),
    Row(
        "certificate-file",
        {"certificate_files": (("SSL_CERT_FILE", "/x cannot be read"),)},
        {},
        "SSL_CERT_FILE: /x cannot be read",
    ),
    Row("server-certificate", {"own_certificate": ("bad", None)}, {}, "bad"),
    Row(
        "server-certificate",
        {"status": {"tls": {"error": "it expired"}}},
        {"status": {"tls": {"error": None}}},
        "does not take over the new certificate: it expired",
    ),
    Row(
        "server-certificate",
        {"own_certificate": ("", NOW - 1)},
        {"own_certificate": ("", NOW + 90 * 86400)},
        "it has expired",
    ),
    Row(
        "server-certificate",
        {"own_certificate": ("", NOW + 3 * 86400 + 5)},
        {},
        "it ends in 3 days",
        "note",
    ),
    Row(
        "proxy-unusable",
        {"environ": {"HTTPS_PROXY": "socks5://p:1"}},
        {"environ": {"HTTPS_PROXY": "http://p:1"}},
        "HTTPS_PROXY must be",
    ),
    Row(
        "loopback-proxied",
        {"environ": {"HTTP_PROXY": "http://p:1", "NO_PROXY": "example.com"}},
        {"environ": {"HTTP_PROXY": "http://p:1", "NO_PROXY": "example.com, 127.0.0.1"}},
        "does not except 127.0.0.1",
    ),
)
IDS = [f"{row.symptom}-{number}" for number, row in enumerate(ROWS)]


def _found(change: dict[str, Any]) -> list[Finding]:
    facts = msgspec.structs.replace(WELL, **change)
    return [finding for _, found in findings(facts) for finding in found]


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_a_check_speaks_where_something_is_wrong_and_says_what_to_do(row: Row) -> None:
    found = [one for one in _found(row.wrong) if one.symptom == row.symptom]
    assert len(found) == 1
    assert row.says in found[0].message
    assert found[0].level == row.level
    assert len(found[0].fix) > 10


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_a_check_is_silent_on_what_only_looks_alike(row: Row) -> None:
    assert [one for one in _found(row.well) if one.symptom == row.symptom] == []


def test_nothing_is_found_where_all_is_well() -> None:
    assert _found({}) == []


def test_every_symptom_has_a_row_and_a_check() -> None:
    assert {row.symptom for row in ROWS} == set(SYMPTOMS)
    checks = [check for _, checks in AREAS for check in checks]
    for check in checks:
        spoken = [row for row in ROWS if list(check(msgspec.structs.replace(WELL, **row.wrong)))]
        assert spoken, f"no row makes {check.__name__} speak"
        assert list(check(WELL)) == []


def test_the_troubleshooting_page_has_an_entry_for_every_symptom_and_for_nothing_else() -> None:
    text = TROUBLESHOOTING.read_text("utf-8")
    entries = re.findall(r"^### `([a-z-]+)`$", text, re.MULTILINE)
    assert sorted(entries) == sorted(SYMPTOMS)
    assert len(set(entries)) == len(entries)


def test_a_port_of_any_kind_is_not_looked_for_by_name() -> None:
    """The message names the configured port, not the usual one."""
    taken = _found({"port_owner": "x", "config": Config(server=Server(port=4999))})
    assert "port 4999" in taken[0].message


def test_who_stood_back_for_a_reason_is_not_told_to_apply_before_that_is_mended() -> None:
    files = [{"file": SETTINGS, "reason": "points elsewhere"}]
    there = (SettingsFact(SETTINGS, "http://other"),)
    found = _found({"settings": there, "status": {"client": {"files": files}}})
    assert [one.fix[:23] for one in found] == ["do what that says, then"]
    assert [one.fix[:11] for one in _found({"settings": there})] == ["`supervisor"]
