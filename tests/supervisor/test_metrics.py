"""`GET /metrics`: its names, its numbers, and what watches them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from protocol.explanation import Attempt
from protocol.prices import Billed
from protocol.request_line import RequestLine
from protocol.tally import Tally
from protocol.told import Told
from supervisor.metrics import PREFIX, render
from tests.e2e.conversation import question
from tests.kit.live import accounts, serve_live
from tests.supervisor.cli import sample_status

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "docs" / "monitoring"
NOW = sample_status.NOW.timestamp()

# `interface.md` "Metrics", and what is said about them elsewhere.
PROMISED = {
    "requests_total": ("account", "provider", "model", "status", "terminal"),
    "request_seconds": (),
    "first_byte_seconds": (),
    "tokens_total": ("account", "model", "kind"),
    "cost_usd_total": (),
    "failovers_total": ("reason",),
    "cooldowns": ("account", "scope", "reason"),
    "quota_utilization": ("account", "window"),
    "quota_reset_timestamp_seconds": ("account", "window"),
    "quota_reading_age_seconds": ("account", "window"),
    "account_available": ("account",),
    "token_expiry_timestamp_seconds": ("account",),
    "refreshes_total": ("account", "outcome"),
    "actor_restarts_total": ("actor",),
    "actor_mailbox_depth": ("actor",),
    "in_flight": (),
    "event_loop_lag_seconds": ("percentile",),
    "client_requests_total": ("client", "status"),
    "client_tokens_total": ("client", "kind"),
    "client_cost_usd_total": ("client",),
    "certificate_expiry_timestamp_seconds": (),
    "build_info": ("version",),
}


def tally() -> Tally:
    tally = Tally()
    entry = Billed(
        "", served_model="m", account="work", status=200, ms_total=1500.0, ms_first_byte=300.0,
        input_tokens=7, cost_usd=0.5,
    )  # fmt: skip
    step = Attempt(0, 1, "tired", "failed", action="next", reason="five_hour")
    tally.finished(entry, Told(0.0, 1.0, steps=(step,)))
    tally.refreshed("work", "renewed")
    line = RequestLine("", "r", "POST", "/v1/messages", client="ci", status=200)
    tally.keyed(msgspec.structs.replace(line, output_tokens=9, cost_usd=0.25))
    return tally


def document(**changes: Any) -> dict[str, Any]:
    changes = {"log": {"dropped_lines": 3}, "tls": {"not_after": sample_status.at(9000)}, **changes}
    shown = sample_status.status(**changes)
    shown["accounts"][0]["expires_at"] = sample_status.at(600)
    return shown


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def value(text: bytes, name: str, **labels: str) -> float:
    return samples(text)[PREFIX + name, tuple(sorted(labels.items()))]


@pytest.fixture(scope="module")
def text() -> bytes:
    return render(document(), tally(), NOW)[0]


def test_every_promised_metric_is_there_with_its_labels(text: bytes) -> None:
    found: dict[str, set[str]] = {}
    for name, labels in samples(text):
        plain = re.sub("_(bucket|sum|count)$", "", name)
        found.setdefault(plain, set()).update({key for key, _ in labels} - {"le"})
    for name, labels in PROMISED.items():
        assert found[PREFIX + name] == set(labels), name


def test_every_metric_is_in_the_documentation_and_the_other_way_round(text: bytes) -> None:
    described = set(
        re.findall(r"^\| `(supervisor_\w+)`", (MONITORING / "README.md").read_text(), re.M)
    )
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name, _ in samples(text)}
    assert shown == described


def test_what_was_counted_is_shown(text: bytes) -> None:
    labels = {
        "account": "work",
        "provider": "",
        "model": "m",
        "status": "200",
        "terminal": "complete",
    }
    assert value(text, "requests_total", **labels) == 1
    assert value(text, "tokens_total", account="work", model="m", kind="input") == 7
    assert value(text, "cost_usd_total") == 0.5
    assert value(text, "failovers_total", reason="five_hour") == 1
    assert value(text, "refreshes_total", account="work", outcome="renewed") == 1
    assert value(text, "log_lines_dropped_total") == 3
    assert value(text, "client_requests_total", client="ci", status="200") == 1
    assert value(text, "client_tokens_total", client="ci", kind="output") == 9
    assert value(text, "client_cost_usd_total", client="ci") == 0.25
    assert value(text, "certificate_expiry_timestamp_seconds") == NOW + 9000
    without_tls = samples(render(document(tls=None), tally(), NOW)[0])
    assert not any("certificate" in name for name, _ in without_tls)


def test_histograms_are_cumulative(text: bytes) -> None:
    assert value(text, "request_seconds_bucket", le="1.0") == 0
    assert value(text, "request_seconds_bucket", le="2.5") == 1
    assert value(text, "request_seconds_bucket", le="+Inf") == 1
    assert value(text, "request_seconds_sum") == 1.5
    assert value(text, "first_byte_seconds_count") == 1


def test_gauges_are_those_of_the_snapshot(text: bytes) -> None:
    assert value(text, "quota_utilization", account="work", window="5h") == 0.81
    reset = value(text, "quota_reset_timestamp_seconds", account="work", window="5h")
    assert reset == NOW + 7400
    assert value(text, "account_available", account="work") == 1
    assert value(text, "account_available", account="personal") == 0
    assert value(text, "account_needs_login", account="team-key") == 1
    assert value(text, "token_expiry_timestamp_seconds", account="work") == NOW + 600
    assert value(text, "cooldowns", account="personal", scope="account", reason="rate_limit") == 1
    assert value(text, "cooldowns", account="", scope="provider", reason="overloaded") == 1
    assert value(text, "actor_restarts_total", actor="front-end") == 5
    assert value(text, "actor_mailbox_depth", actor="account/work") == 12
    assert value(text, "in_flight") == 3
    assert value(text, "event_loop_lag_seconds", percentile="99") == 0.0021
    assert value(text, "build_info", version="0.1.0") == 1


def test_what_is_not_known_has_no_sample(text: bytes) -> None:
    shown = samples(text)
    window = (("account", "old"), ("window", "tokens"))
    assert (f"{PREFIX}quota_utilization", window) not in shown
    assert (f"{PREFIX}token_expiry_timestamp_seconds", (("account", "personal"),)) not in shown


def test_the_age_of_a_reading_is_never_negative() -> None:
    early = render(document(), tally(), NOW - 1e6)[0]
    late = render(document(), tally(), NOW + 1e6)[0]
    where = {"account": "work", "window": "5h"}
    assert value(early, "quota_reading_age_seconds", **where) == 0
    assert value(late, "quota_reading_age_seconds", **where) == 1e6 - 7400


def test_names_of_strangers_cannot_break_out_of_a_label() -> None:
    made = Tally()
    evil = 'm"} 1\nsupervisor_evil 1\n\\'
    made.finished(Billed("", served_model=evil, status=200, output_tokens=1), None)
    shown = samples(render(document(), made, NOW)[0])
    assert (f"{PREFIX}evil", ()) not in shown
    assert any(("model", evil) in labels for _, labels in shown)


def test_with_nothing_known_it_is_rendered_all_the_same() -> None:
    nothing = {"accounts": [], "cooldowns": [], "actors": [], "event_loop_lag": {}}
    bare = {**document(), **nothing}
    assert value(render(bare, Tally(), NOW)[0], "in_flight") == 3


async def test_a_scrape_of_the_running_program_tells_of_its_requests(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        live = await nursery.start(serve_live, accounts("a"), tmp_path)
        assert (await live.ask("POST", "/v1/messages", [], question(stream=False))).status == 200
        await live.wait_for_lines(1)
        scraped = await live.ask("GET", "/metrics")
        assert scraped.status == 200
        assert (scraped.header("content-type") or "").startswith("text/plain; version=")
        served = [
            value
            for (name, labels), value in samples(scraped.body).items()
            if name == "supervisor_requests_total" and ("account", "a") in labels
        ]
        assert served == [1]
        nursery.cancel_scope.cancel()


def _named_in(text: str) -> set[str]:
    return {
        re.sub("_(bucket|sum|count)$", "", name) for name in re.findall(r"supervisor_\w+", text)
    }


@pytest.mark.parametrize("file", ["alerts.yml", "dashboard.json"])
def test_every_metric_that_is_watched_exists(text: bytes, file: str) -> None:
    exist = {re.sub("_(bucket|sum|count)$", "", name) for name, _ in samples(text)}
    watched = _named_in((MONITORING / file).read_text())
    assert watched
    assert watched <= exist


def test_the_dashboard_is_one_that_can_be_imported() -> None:
    board = json.loads((MONITORING / "dashboard.json").read_text())
    assert board["title"] == "llm-supervisor"
    places = set()
    for panel in board["panels"]:
        assert panel["targets"]
        grid = panel["gridPos"]
        for x in range(grid["x"], grid["x"] + grid["w"]):
            for y in range(grid["y"], grid["y"] + grid["h"]):
                assert x < 24
                assert (x, y) not in places, panel["title"]
                places.add((x, y))
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_nobody_who_does_not_scrape_waits_for_the_library() -> None:
    code = "import sys, supervisor.worker; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=50).returncode == 0


def test_the_library_is_one_that_is_installed_with_the_program() -> None:
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split("[<>=]", one)[0] for one in needed}
    assert {"prometheus-client", "genai-prices"} <= names


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_itself_finds_nothing_wrong(text: bytes) -> None:
    for command, given in (
        (["promtool", "check", "metrics"], text),
        (["promtool", "check", "rules", str(MONITORING / "alerts.yml")], b""),
        (["promtool", "test", "rules", str(MONITORING / "alerts_test.yml")], b""),
    ):
        done = subprocess.run(command, input=given, capture_output=True, check=False, timeout=50)
        assert done.returncode == 0, done.stdout + done.stderr
