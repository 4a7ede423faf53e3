"""The certificate's files are looked at, in virtual time; and that survives its crashes."""

from __future__ import annotations

import random

import trio

from actors.certificate_watcher import CHECK_SECONDS, SETTLING_LOOKS_MAX, CertificateWatcherActor
from actors.runtime import Context, Run
from protocol.restart import RestartPolicy
from supervisor.child import ChildSpec, GroupSpec
from supervisor.engine import Supervisor
from tests.actors.living import living
from tests.kit.crashes import count_awaits, crash_at


class Pair:
    """Files that hold what the test says, and what was taken of them."""

    def __init__(self) -> None:
        self.content: bytes | None = b"first"
        self.in_force: bytes | None = b"first"
        self.tried: list[bytes | None] = []
        self.looks = 0
        self.told: list[bytes | None] = []

    async def look(self) -> bytes | None:
        await trio.sleep(0.01)
        self.looks += 1
        return self.content

    def is_new(self, digest: bytes | None) -> bool:
        return digest != self.in_force and digest not in self.tried[-1:]

    async def renew(self, digest: bytes | None) -> bool:
        self.tried.append(digest)
        await trio.sleep(0.01)
        if self.content is None or b"bad" in self.content:
            return False
        self.in_force = self.content
        return True

    async def taken(self) -> None:
        self.told.append(self.in_force)

    @property
    def watcher(self) -> CertificateWatcherActor:
        return CertificateWatcherActor(self, self.taken)


async def test_files_that_stay_the_same_are_only_looked_at(autojump_clock: object) -> None:
    pair = Pair()
    async with living(pair.watcher.run):
        await trio.sleep(60)
    assert pair.tried == []
    assert 55 <= pair.looks <= 62


async def test_certificate_and_key_that_follow_each_other_are_taken_once(
    autojump_clock: object,
) -> None:
    pair = Pair()
    async with living(pair.watcher.run):
        await trio.sleep(2)
        pair.content = b"bad: the certificate alone"
        seen = pair.looks
        while pair.looks == seen:  # noqa: ASYNC110 - virtual time
            await trio.sleep(0.01)
        pair.content = b"second"
        await trio.sleep(2)
    assert pair.tried == [b"second"]
    assert pair.in_force == b"second"


async def test_files_that_never_settle_are_tried_as_they_are(autojump_clock: object) -> None:
    pair = Pair()
    async with living(pair.watcher.run):
        for number in range(4 * SETTLING_LOOKS_MAX):
            pair.content = b"%d" % number
            await trio.sleep(CHECK_SECONDS / 4)
        assert pair.in_force != b"first"


async def test_what_was_refused_is_tried_again_when_it_has_changed(autojump_clock: object) -> None:
    pair = Pair()
    async with living(pair.watcher.run):
        pair.content = b"bad"
        await trio.sleep(20)
        assert pair.tried == [b"bad"]
        pair.content = None
        await trio.sleep(20)
        assert pair.tried == [b"bad", None]
        pair.content = b"good"
        await trio.sleep(3)
    assert pair.in_force == b"good"
    assert pair.told == [b"good"]


async def lived(pair: Pair, run: Run) -> Supervisor:
    """Supervised while the files change; ended as a program ends."""
    child = ChildSpec("certificate", run, policy=RestartPolicy())
    groups = (GroupSpec("upkeep", "one_for_one", (child,)),)
    engine = Supervisor(
        groups, random=random.Random(1), report=lambda crash: None, wall_clock=trio.current_time
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        await trio.sleep(2)
        pair.content = b"second"
        await trio.sleep(20)
        engine.stop()
    return engine


async def test_a_crash_at_any_await_loses_no_renewal(autojump_clock: object) -> None:
    dry = count_awaits(Pair().watcher.run)
    await lived(Pair(), dry)
    assert len(dry.points) > 10
    for nth in range(1, len(dry.points) + 1):
        pair = Pair()
        run = crash_at(pair.watcher.run, nth)
        await lived(pair, run)
        assert run.crashed
        assert pair.in_force == b"second" or "renew" in run.points[-1], run.points[-1]


async def test_the_end_of_the_program_does_not_wait_for_the_next_look(
    autojump_clock: object,
) -> None:
    began = trio.current_time()

    async def run(context: Context[None, None]) -> None:
        await Pair().watcher.run(context)

    async with living(run):
        pass
    assert trio.current_time() - began < CHECK_SECONDS
