"""`make mutation`: how many mutants of each module its tests notice, and which they do not.

Without arguments it measures the modules that changed, or whose tests did, since their last time;
`--all` measures every one, names measure those (`make mutation ARGS="verdict translation/writer"`).
`--survivors` tries only those again that survived unexplained, after tests were added; of a module
whose code has changed it tries all.
`--processes 1` leaves the other core to others.
`--page` writes docs/mutation.md anew and measures nothing.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from tests.mutation import page
from tests.mutation.measure import ROOT, code_digest, digest, modules, survivors, tests_of
from tests.mutation.mutants import mutants

PROCESSES = 2


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make mutation")
    parser.add_argument("modules", nargs="*", help="below protocol/, without .py")
    parser.add_argument("--all", action="store_true", help="every module, changed or not")
    parser.add_argument(
        "--survivors", action="store_true", help="only the unexplained survivors: tests were added"
    )
    parser.add_argument("--processes", type=int, default=PROCESSES, help="modules at a time")
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.one:
        return _measure_here(asked.one, only_survivors=asked.survivors)
    known = modules()
    if unknown := set(asked.modules) - set(known):
        parser.error(f"not in protocol/: {', '.join(sorted(unknown))}")
    if not asked.page:
        measured = page.results()
        wanted = asked.modules or [
            name
            for name in known
            if asked.all or measured.get(name, {}).get("digest") != digest(name)
        ]
        _measure(wanted, ["--survivors"] if asked.survivors else [], asked.processes)
    page.PAGE.write_text(page.render(page.results(), page.explained()))
    return 0


def _measure(wanted: Sequence[str], options: Sequence[str], processes: int) -> None:
    """Each in a process of its own, so many at a time; a result is kept as soon as it is there."""
    waiting, lock = list(wanted), threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not waiting:
                    return
                name = waiting.pop(0)
            command = [sys.executable, "-m", "tests.mutation.run", "--one", name, *options]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            with lock:
                if done.returncode != 0:
                    print(f"{name}: {done.stderr.strip().splitlines()[-1]}", flush=True)
                    continue
                result = json.loads(done.stdout)
                page.keep(name, result)
                alive = len(result["survivors"])
                print(f"{name}: {result['mutants']} mutants, {alive} survived", flush=True)

    workers = [threading.Thread(target=work) for _ in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _known(name: str) -> dict[str, bool] | None:
    """What more tests do not change: who was killed stays so, and what is explained survives."""
    last = page.results().get(name)
    if last is None or last.get("code") != code_digest(name):
        return None
    source = (ROOT / "protocol" / f"{name}.py").read_text()
    explained = page.explained().get(name, {})
    alive = set(last["survivors"])
    return {
        mutant.name: mutant.name in alive
        for mutant in mutants(source)
        if mutant.name not in alive or mutant.name in explained
    }


def _measure_here(name: str, *, only_survivors: bool) -> int:
    begin = time.monotonic()
    if not tests_of(name):
        print(f"no test in tests/protocol imports protocol/{name}.py", file=sys.stderr)
        return 1
    count, alive = 0, []
    known = _known(name) if only_survivors else None
    for mutant, survived in survivors(name, known):
        count += 1
        if survived:
            alive.append(mutant)
    result = {
        "code": code_digest(name),
        "digest": digest(name),
        "measured": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "mutants": count,
        "seconds": round(time.monotonic() - begin),
        "survivors": alive,
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
