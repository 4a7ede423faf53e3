"""A flame graph of the running program under the comparison's load.

    make profile                                  express lane, 2 KB
    make profile ARGS="--lane reference"
    make profile ARGS="--case streams --seconds 20"
    make profile ARGS="--native"                  with C functions (needs more of the machine)

Leaves build/profile.svg, to be opened in a browser, build/profile.txt, the same stacks folded (for
other viewers), and prints the share of each module and function. Wall time of the worker's event loop
while it has something to do; on a busy machine system calls are overrated, for there it loses the
processor.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import running
import wrk
from bench_comparison import upstreams
from folding import summary
from measures import CASES, SMALL, STREAMS
from relays import CONNECTIONS
from running import ROOT, Failed

BUILD = ROOT / "build"
CHOICES = {"small": SMALL, "streams": STREAMS, "answers": CASES[2], "requests": CASES[4]}
NOT_PERMITTED = """\
py-spy may not read the program's memory, which it does by ptrace. Either
  - run it as root: sudo make profile; or
  - permit it until the next start: sudo sysctl kernel.yama.ptrace_scope=0; or
  - in a container, start it with --cap-add SYS_PTRACE; or
  - profile without it: python -m cProfile, as docs/performance.md says.
py-spy said: """


def main(arguments: list[str]) -> int:
    """1 when there is no profile."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lane", choices=("express", "reference"), default="express")
    parser.add_argument("--case", choices=tuple(CHOICES), default="small")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rate", type=int, default=250, help="samples per second (250)")
    parser.add_argument("--native", action="store_true", help="C functions as well")
    options = parser.parse_args(arguments)
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which(
        "py-spy"
    )
    if program is None:
        raise Failed("py-spy is not installed; `make profile` does that")
    if not wrk.found():
        raise Failed("wrk is missing (Debian: apt install wrk)")
    running.ended_like_interrupted()
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="profile-") as directory:
        home = Path(directory)
        with (
            upstreams(home) as there,
            running.proxy(
                there.plain.url,
                home / "proxy",
                express=options.lane == "express",
                in_server=CONNECTIONS,
            ) as proxy,
        ):
            folded, rate = _recorded(program, proxy, home, options)
    (BUILD / "profile.txt").write_text(folded, "utf-8")
    case = CHOICES[options.case]
    print(f"{options.lane} lane, {case.title}, {rate:,.0f} requests/s while it was watched")
    print("\n".join(summary(folded)))
    print("\nwritten: build/profile.svg, build/profile.txt")
    return 0


def _recorded(
    program: str, proxy: running.Process, home: Path, options: argparse.Namespace
) -> tuple[str, float]:
    """The folded stacks, and requests/s meanwhile. py-spy draws and folds in two runs."""
    folded = home / "folded.txt"
    case = CHOICES[options.case]
    url = f"http://127.0.0.1:{proxy.port}"
    common = ["--pid", str(proxy.pid), "--duration", str(options.seconds)]
    common += ["--rate", str(options.rate), *(["--native"] if options.native else [])]

    def under_load(out: Path, kind: str) -> float:
        command = [program, "record", *common, "--format", kind, "--output", str(out)]
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as spy:
            try:
                load = wrk.run(
                    url,
                    home / "load",
                    answer=case.answer,
                    request_bytes=case.request_bytes,
                    connections=case.connections,
                    seconds=options.seconds + 1,
                )
                said, _ = spy.communicate(timeout=options.seconds + 60)
            except BaseException:
                spy.kill()
                raise
        if not out.exists() or not out.stat().st_size:
            refused = any(word in said.lower() for word in ("permission", "not permitted", "root"))
            raise Failed((NOT_PERMITTED if refused else "py-spy wrote nothing: ") + said.strip())
        return load.per_second

    wrk.run(url, home / "load", answer=case.answer, request_bytes=2048, connections=16, seconds=2)
    with contextlib.suppress(FileNotFoundError):
        (BUILD / "profile.svg").unlink()
    under_load(BUILD / "profile.svg", "flamegraph")
    rate = under_load(folded, "raw")
    return folded.read_text("utf-8"), rate


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failed as failure:
        sys.exit(f"no profile: {failure}")
