"""The keeper: a small process that outlives its worker. Standard library only, one thread.

It holds the listening socket and the lock, so that clients wait instead of being refused while a
worker is replaced. It decides nothing about the client's settings: it puts them back when no worker
serves for too long, when it gives up, and at the end. The worker does the same when its line to the
keeper ends.
"""

from __future__ import annotations

import logging
import os
import random
import selectors
import signal
import socket
import time
from collections.abc import Callable

from protocol.keeping import ENDS_THE_PROGRAM, TICK_SECONDS, Awake, Deaths
from supervisor import kept_worker
from supervisor.keeper_plan import Client, Plan, Restored
from supervisor.kept_worker import KeptWorker, how_it_ended
from supervisor.notify import Notifier
from supervisor.signal_bytes import signals_into

log = logging.getLogger("supervisor.keeper")

SILENCE_SECONDS = 10.0
"""A worker that says nothing for so long is stuck, and replaced."""
ANSWERS_SECONDS = 3 * TICK_SECONDS
"""A worker that was heard within this time is said to work."""
START_SECONDS = 60.0
"""The same until its first word: a busy machine needs a while to start an interpreter."""
AT_ONCE_SECONDS = 0.8
"""After a second signal."""
AFTER_THE_DRAIN_SECONDS = 12.0
"""A worker that drains has its own guard, at ten seconds past the drain; this one is ours."""

STOPPED_AS_ASKED, FAILED, GAVE_UP = 0, 1, 70


class Keeper:
    """`run` returns the program's exit code, when no worker is left and the settings are back."""

    def __init__(
        self,
        plan: Plan,
        listening: socket.socket,
        client: Client,
        announce: Callable[[str], None],
        notify: Notifier | None = None,
    ) -> None:
        """`announce` is called once: when a worker serves for the first time, with what it says.
        `notify` is told that the program works, and that it stops."""
        self._notify = notify or Notifier()
        self._plan = plan
        self._listening = listening
        self._client = client
        self._announce: Callable[[str], None] | None = announce
        self._clock = Awake(time.monotonic())
        self._deaths = Deaths()
        self._worker: KeptWorker | None = None
        self._life = 0
        self._heard: float | None = None
        """The worker's last word; None before its first."""
        self._started = 0.0
        self._ready_since: float | None = None
        self._start_at: float | None = 0.0
        self._unserved_since: float | None = 0.0
        self._finish_at: float | None = None
        self._restored = False
        """By us, since a worker served, something that was ours until then."""
        self._kill_at: float | None = None
        self._stopping = False
        self._signals = 0
        self._at_once = False
        self._code: int | None = None
        self._numbers, self._numbers_in = socket.socketpair()
        self._numbers.setblocking(False)

    def run(self) -> int:
        """Until somebody asks for the end, or no worker can be kept."""
        try:
            with self._numbers, self._numbers_in, signals_into(self._numbers_in):
                while self._code is None or self._finish_at is not None:
                    self._look()
            return self._code
        finally:
            self._listening.close()
            if self._worker is not None:
                self._worker.hang_up()

    # --- one look at everything

    def _look(self) -> None:
        self._due()
        if self._code is not None and self._finish_at is None:
            return
        self._wait()
        self._clock = self._clock.at(time.monotonic())
        self._take_signals()
        self._listen_to_worker()
        if self._works():
            self._notify.alive(self._now)

    def _works(self) -> bool:
        """The worker answers, or is on its way: how long that may take is bounded here."""
        if self._worker is None or self._heard is None:
            return True
        return self._now - self._heard < ANSWERS_SECONDS

    @property
    def _now(self) -> float:
        return self._clock.now

    def _wait(self) -> None:
        times = [self._start_at, self._restore_at(), self._finish_at, self._kill_at]
        due = min((at - self._now for at in times if at is not None), default=TICK_SECONDS)
        with selectors.DefaultSelector() as selector:
            selector.register(self._numbers, selectors.EVENT_READ)
            if self._worker is not None and self._worker.line is not None:
                selector.register(self._worker.line, selectors.EVENT_READ)
            selector.select(min(max(due, 0.0), TICK_SECONDS))

    def _restore_at(self) -> float | None:
        if self._unserved_since is None or self._stopping:
            return None
        return self._unserved_since + self._plan.restore_after

    def _due(self) -> None:
        now = self._now
        if self._start_at is not None and now >= self._start_at:
            self._start_worker()
        restore_at = self._restore_at()
        if restore_at is not None and now >= restore_at:
            self._unserved_since = None  # once; the next worker that serves points again
            log.warning("no worker has served for %g s", self._plan.restore_after)
            self._restore()
        if self._finish_at is not None and now >= self._finish_at:
            self._finish_at = None
            self._say(self._client.finish)
        if self._worker is not None:
            if self._kill_at is not None and now >= self._kill_at:
                self._kill_at = None
                log.error("the worker did not stop; it is ended")
                self._worker.signal(signal.SIGKILL)
            self._notice_silence(self._worker)

    # --- the worker

    def _start_worker(self) -> None:
        self._start_at = None
        self._life += 1
        letter = {**self._plan.letter, "life": self._life}
        try:
            self._worker = KeptWorker(self._plan.command, letter, self._plan.descriptors)
        except OSError as error:
            self._replace(f"could not be started: {error}", 0.0)
            return
        self._heard, self._started, self._ready_since = None, self._now, None

    def _listen_to_worker(self) -> None:
        worker = self._worker
        if worker is None:
            return
        # In this order: what it said before it died is heard.
        code = worker.exit_code()
        for word in worker.words():
            self._hear(word)
        if code is not None:
            worker.bury()
            self._worker = None
            self._take_death(code)

    def _hear(self, word: str) -> None:
        self._heard = self._now
        name, _, rest = word.partition(" ")
        if name == kept_worker.READY:
            self._ready_since = self._now
            self._unserved_since = None
            self._take_back_the_restoring()
            announce, self._announce = self._announce, None
            if announce is not None:
                announce(rest)
        elif name == kept_worker.DRAINING:
            self._stopping = True
            self._listening.close()
            self._notify.stopping()
            if not self._at_once:
                self._kill_at = self._now + float(rest) + AFTER_THE_DRAIN_SECONDS

    def _notice_silence(self, worker: KeptWorker) -> None:
        if self._heard is None:
            silent = self._now - self._started >= START_SECONDS
        else:
            silent = self._now - self._heard >= SILENCE_SECONDS
        if silent:
            log.error("the worker (pid %d) is stuck; it is ended", worker.pid)
            self._heard = self._now  # say it once
            worker.signal(signal.SIGKILL)

    def _take_death(self, code: int) -> None:
        self._kill_at = None
        if code in ENDS_THE_PROGRAM:
            self._end(code)
        elif self._stopping:
            if code != -signal.SIGTERM and not self._at_once:
                log.error("the worker %s while it stopped", how_it_ended(code))
                self._end(FAILED)
            else:
                self._end(STOPPED_AS_ASKED)
        else:
            served = 0.0 if self._ready_since is None else self._now - self._ready_since
            self._replace(how_it_ended(code), served)

    def _replace(self, how: str, served: float) -> None:
        if self._unserved_since is None and self._ready_since is not None:
            self._unserved_since = self._now
        self._ready_since = None
        self._deaths = self._deaths.another(self._now, served, self._plan.limit)
        wait = self._deaths.wait(self._plan.limit, random.random())
        if wait is None:
            limit = self._plan.limit
            log.critical(
                "the worker %s; more than %d of them ended within %g s, so the program ends; "
                "the lines above say why, and a new start may help",
                how, limit.deaths, limit.period,
            )  # fmt: skip
            self._end(GAVE_UP)
            return
        log.error("the worker %s; a new one starts in %.1f s, clients wait", how, wait)
        self._start_at = self._now + wait

    # --- the end

    def _end(self, code: int) -> None:
        # First: whoever connects from here on must be refused, not left waiting.
        self._listening.close()
        self._notify.stopping()
        self._stopping, self._start_at, self._code = True, None, code
        self._restore()

    def _stop(self, number: int) -> None:
        # Counted here, and not whether it stops already: a service manager that signals every
        # process at once has asked once, also where the worker was faster to say so.
        self._signals += 1
        if not self._stopping:
            self._stopping = True
            log.info("stopping (%s)", signal.Signals(number).name)
            self._listening.close()
            self._notify.stopping()
            if self._worker is None:
                self._end(STOPPED_AS_ASKED)
                return
            self._kill_at = self._now + self._plan.drain_seconds + AFTER_THE_DRAIN_SECONDS
            self._worker.order(kept_worker.STOP)
            if self._heard is None:  # it cannot hear yet, and has nothing that needs an end
                self._worker.signal(signal.SIGTERM)
        elif self._signals > 1 and not self._at_once:
            self._at_once = True
            if self._finish_at is not None:
                self._finish_at = self._now
            if self._worker is not None:
                log.warning("stopping at once")
                self._kill_at = self._now + AT_ONCE_SECONDS
                self._worker.order(kept_worker.STOP_AT_ONCE)

    def _take_back_the_restoring(self) -> None:
        """A worker serves; it may have pointed the client before we put the settings back."""
        self._finish_at = None
        if self._restored and self._worker is not None:
            self._worker.order(kept_worker.POINT_AGAIN)
        self._restored = False

    def _restore(self) -> None:
        restored = self._say(self._client.restore)
        if restored is None:
            return
        # Who was not pointed here, or went elsewhere, is not pointed by what comes later.
        self._restored = self._restored or bool(restored.changed)
        if restored.pending:
            # At once means without the wait that lets running sessions see the first step.
            self._finish_at = self._now + (0.0 if self._at_once else self._plan.release_after)

    def _say(self, step: Callable[[], Restored]) -> Restored | None:
        """Does it, and says what came of it; None where that failed."""
        try:
            restored = step()
        except Exception:
            # Whatever it is, the port must still be kept or closed.
            log.error("the client's settings could not be put back", exc_info=True)
            return None
        for message in restored.messages:
            log.warning("%s", message)
        return restored

    # --- signals

    def _take_signals(self) -> None:
        try:
            numbers = self._numbers.recv(256)
        except BlockingIOError:
            return
        for number in numbers:
            if number in (signal.SIGINT, signal.SIGTERM):
                self._stop(number)
            elif number == signal.SIGHUP:
                self._hang_up()
            elif number == signal.SIGTSTP:
                self._suspend()

    def _hang_up(self) -> None:
        if not self._plan.stops_on_hang_up:
            if self._worker is not None:
                self._worker.order(kept_worker.RELOAD)
        elif not self._stopping:  # a closing terminal says it twice, once by its shell
            self._stop(signal.SIGHUP)

    def _suspend(self) -> None:
        """Ctrl-Z: as one process would, but without leaving the client at a port that is asleep."""
        if not self._stopping:
            self._restore()
        if self._worker is not None:
            self._worker.signal(signal.SIGSTOP)
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)  # here it stops, until it is continued
        signal.signal(signal.SIGTSTP, handler)
        self._clock = self._clock.at(time.monotonic())
        self._heard = self._now if self._heard is not None else None
        if self._worker is not None:
            self._worker.signal(signal.SIGCONT)
        if self._ready_since is not None:
            self._take_back_the_restoring()
