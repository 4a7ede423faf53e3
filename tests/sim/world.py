"""The world of one run: clients, upstreams, disks and an owner, and the program among them, life
after life, all of it in memory and in virtual time.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import trio

from protocol import quota_file
from protocol.config import Config
from protocol.inbound_keys import InboundKey
from protocol.secrets import Secret
from server.scripted import MemoryNetwork, MemoryStream, stream_pair
from server.upstream import DirectUpstream, tls_context
from server.upstream_port import Limits
from supervisor import quota_memory
from supervisor.engine import GaveUp
from supervisor.instance import Instance
from supervisor.listening import listen
from supervisor.parts import Parts
from supervisor.program import Program
from tests.kit.logins import login_path
from tests.kit.memory_clients import MemoryClients
from tests.kit.memory_keys import OWNER_KEY
from tests.kit.program import EPOCH, configured
from tests.sim.clients import CLIENT_KEYS, KEYS_PER_MINUTE, OWN_KEY
from tests.sim.disks import OWNER, SimCredentials, SimDisk, SimKeys
from tests.sim.faults import Dice, meddled_with
from tests.sim.history import (
    Account,
    Configured,
    Guarded,
    History,
    KeyMade,
    KeyRevoked,
    Left,
    Life,
    Line,
)
from tests.sim.scenario import API, FAR, OTHER, PROVIDER_KEY, TOKENS, Scenario
from tests.sim.token_endpoint import SimLogins, log_in
from tests.sim.upstream import SimUpstream

STATE = Path("/state")
TLS = tls_context("")
INSTANCE = Instance(
    pid=1, host="127.0.0.1", port=0, started_at="", id="simulated", version="simulated"
)
LIFE_SECONDS = 60.0
"""On average until a life may end, before a fault decides whether it does."""

DOWN_SECONDS = 0.5


class World:
    """Everything of one run that is not the program."""

    def __init__(self, scenario: Scenario, history: History, nursery: trio.Nursery) -> None:
        self.scenario = scenario
        self.history = history
        self.dice = Dice(scenario, history)
        self.calm = False
        self.skew = 0.0
        self.slept = 0.0
        self.life = 0
        self.accounts: tuple[Account, ...] = scenario.accounts
        self.wanted = scenario.accounts
        self.keys_asked = self.wanted_keys
        self.source: Callable[[], Config] = lambda: configured(scenario.text())
        self.disk = SimDisk(self.dice)
        self.logins = SimLogins(self.dice, self.true_time, scenario.token_lifetime)
        self.credentials = SimCredentials(self.dice, self.wall)
        self.keys = SimKeys(self.dice)
        self.made_keys: list[tuple[InboundKey, str]] = []
        for _ in range(CLIENT_KEYS if scenario.keyed else 0):
            self.make_key()
        self._numbers = 0
        self._attempts = 0
        self._program: Program | None = None
        self._opened = trio.Event()
        self.upstreams = [self._upstream(host) for host in (API, FAR, OTHER, TOKENS)]
        self.network = MemoryNetwork(nursery, buffer_bytes=scenario.buffer_bytes)
        for upstream in self.upstreams:
            self.network.listen(upstream.host, upstream.serve_stream)
        for account in scenario.accounts:
            if not account.secret:
                log_in(self.logins, self.credentials, account.name, OWNER)

    # --- clocks and numbers

    def true_time(self) -> float:
        """Epoch seconds, as everybody else has them."""
        return EPOCH + trio.current_time() + self.slept

    def wall(self) -> float:
        """Epoch seconds, as this machine believes."""
        return self.true_time() + self.skew

    def number(self) -> int:
        """Of the next request."""
        self._numbers += 1
        return self._numbers

    def _attempt(self) -> int:
        self._attempts += 1
        return self._attempts

    def login_file(self, name: str) -> Path:
        """Of an account with a login."""
        return Path(login_path(name))

    @property
    def wanted_keys(self) -> str:
        """Whether the configuration asks for inbound keys; see `Configured`."""
        return "on" if self.scenario.asked else "off"

    def configured(self, accounts: tuple[Account, ...], keys: str) -> None:
        """These are in force."""
        self.accounts, self.keys_asked = accounts, keys
        self.history.add(Configured(trio.current_time(), accounts, self.scenario.settings, keys))

    # --- inbound keys

    def make_key(self) -> None:
        """One more; the newest ones are those that clients have."""
        nth = len(self.made_keys)
        per_minute = KEYS_PER_MINUTE[nth % CLIENT_KEYS]
        made = self.keys.add(nth, requests_per_minute=per_minute)
        self.made_keys.append(made)
        self.history.add(KeyMade(trio.current_time(), nth, made[1], per_minute))

    def revoke_key(self, nth: int) -> None:
        """Whoever has it does not know so."""
        self.keys.revoke(self.made_keys[nth][0], self.wall())
        self.history.add(KeyRevoked(trio.current_time(), nth))

    # --- upstreams

    def _upstream(self, host: str) -> SimUpstream:
        keys = {OWN_KEY, *(account.secret for account in self.scenario.accounts)} - {""}
        keys.add(PROVIDER_KEY)

        def good(credential: str) -> bool:
            return credential in keys or self.logins.good(credential)

        return SimUpstream(host, self.dice, self._attempt, good, self.logins.renew, self.true_time)

    async def _open_tcp(self, host: str, port: int) -> MemoryStream:
        if self.dice.hit("refused", host):
            raise ConnectionRefusedError(111, f"nobody listens on {host}")
        if self.dice.hit("silent host", host):
            await trio.sleep(60)
            raise TimeoutError(110, "connection timed out")
        return await self.network.open_tcp(host, port)

    def _make_upstream(self, base_url: str) -> DirectUpstream:
        settings = self.scenario.settings
        limits = Limits(5.0, settings["response"], settings["idle"], 64)
        return DirectUpstream(base_url, limits, TLS, self._open_tcp, {}, self.wall)

    # --- clients

    async def connect(self) -> tuple[MemoryStream, int]:
        """A connection to the program, and the life it is in; waits while the program is down."""
        while self._program is None:
            await self._opened.wait()
        ours, theirs = stream_pair(self.scenario.buffer_bytes)
        self._program.connections.admit(theirs)
        return ours, self.life

    def lane(self, life: int) -> str:
        """The lane that relayed routes take in a life."""
        return self.scenario.lanes[life % len(self.scenario.lanes)]

    # --- lives

    async def lives(self) -> None:
        """One life of the program after the other, until it was drained for good."""
        while await self._live():  # noqa: ASYNC110 - it waits for a life, not for a condition
            await trio.sleep(DOWN_SECONDS)

    async def _live(self) -> bool:
        """One life; True if another follows."""
        self.life += 1
        with trio.CancelScope() as power:
            try:
                await self._run(power)
            except* GaveUp:
                self._tell("gave up")
        self.dice.muted = False
        self._close_door()
        self._tell("over")
        return not self.calm

    async def _run(self, power: trio.CancelScope) -> None:
        """The program, until it was drained, gave up, or `power` is cancelled."""
        parts = self._parts()
        with parts.listening_socket(), meddled_with(self.dice):
            async with trio.open_nursery() as connections:
                program = Program(parts, INSTANCE, connections)
                async with trio.open_nursery() as beside:
                    async with trio.open_nursery() as running:
                        await running.start(program.run)
                        self._open_door(program)
                        beside.start_soon(self._see_the_drain, program)
                        beside.start_soon(self._end_some_time, program, power)
                    beside.cancel_scope.cancel()
                connections.cancel_scope.cancel()
            self._look_for_leftovers(parts)

    def _open_door(self, program: Program) -> None:
        self.configured(self.wanted, self.wanted_keys)
        self._tell("up")
        self._program = program
        self._opened.set()

    async def _see_the_drain(self, program: Program) -> None:
        await program.stop_asked.wait()
        if self._program is program:
            self._tell("draining")
            self._close_door()

    def _close_door(self) -> None:
        self._program = None
        if self._opened.is_set():  # else there are some who wait at it already
            self._opened = trio.Event()

    async def _end_some_time(self, program: Program, power: trio.CancelScope) -> None:
        rng = self.dice.stream("lives")
        while True:
            await trio.sleep(rng.expovariate(1 / LIFE_SECONDS))
            if self.dice.hit("drain", f"life {self.life}"):
                program.stop()
                return
            if self.dice.hit("stop at once", f"life {self.life}"):
                await program.stop_at_once()
                return
            if self.dice.hit("power cut", f"life {self.life}"):
                self.dice.muted = True
                self._tell("cut")
                self._close_door()
                power.cancel()
                return

    def _tell(self, what: str) -> None:
        mode = "passthrough" if self.scenario.passthrough else "pool"
        self.history.add(
            Life(trio.current_time(), self.life, what, f"{self.lane(self.life)} {mode}")
        )

    def _parts(self) -> Parts:
        lane = self.lane(self.life)
        base = self.scenario.text

        def load() -> Config:
            config = self.source()
            express = msgspec.structs.replace(config.server, express=lane == "express")
            return msgspec.structs.replace(config, server=express)

        try:
            config = load()
        except Exception:  # the bad file is there at the start of a life: its owner mends it
            self.source = lambda: configured(base(self.wanted))
            config = load()
        path = STATE / quota_memory.FILE_NAME
        memory = quota_memory.nothing_known(path)
        if path in self.disk.files:
            memory = quota_memory.QuotaMemory(quota_file.decode(self.disk.files[path]), path)
        parts = Parts(
            config,
            load,
            STATE,
            listen("127.0.0.1", 0),
            disk=self.disk,
            wall_clock=self.wall,
            rng=random.Random(f"{self.scenario.seed}/program {self.life}"),
            make_upstream=self._make_upstream,
            memory=memory,
            environ={},
            credential_disk=self.credentials,
            key_disk=self.keys,
        )
        parts.clients = self.guarded = MemoryClients(lambda: parts.config)
        self.guarded.key = Secret(OWNER_KEY) if self.scenario.keyed else None
        return parts

    def _look_for_leftovers(self, parts: Parts) -> None:
        now, history = trio.current_time(), self.history
        history.add(Guarded(now, self.life, self.guarded.pointed))
        history.add(Left(now, "request bytes", parts.door.ports.budget.held))
        history.add(Left(now, "connections", len(parts.connections or ())))

    def read_the_logs(self) -> None:
        """What was written down of requests, and of what should never be."""
        now = trio.current_time()
        secret = {OWN_KEY, PROVIDER_KEY, OWNER_KEY, *self.logins.all_tokens()}
        secret |= {shown for _, shown in self.made_keys}
        secret |= {account.secret for account in self.scenario.accounts} - {""}
        for path, data in sorted(self.disk.files.items()):
            found = sum(value.encode() in data for value in secret)
            self.history.add(Left(now, f"credentials in {path.name}", found))
            if path.name.startswith("requests-"):
                for line in data.splitlines():
                    self.history.add(Line(now, str(json.loads(line)["request_id"])))

    def stop(self) -> None:
        """The end, as asked."""
        if self._program is not None:
            self._program.stop()
