"""The program with something in its worker, or in its keeper, done otherwise than usual."""

from __future__ import annotations

KEEPER = """
import sys
from supervisor import worker_process

worker, keeper, number = sys.argv.pop(1), sys.argv.pop(1), int(sys.argv.pop(1))
given = [sys.argv.pop(1) for _ in range(number)]
worker_process.command = lambda: (sys.executable, "-c", worker, *given)
exec(keeper)
from supervisor.cli import main
main()
"""

WORKER = """
from supervisor import worker_process
sys.exit(worker_process.main(int(sys.argv[1])))
"""


def spoilt(worker: str, *arguments: str, keeper: str = "") -> tuple[str, ...]:
    """The `command` of a process whose every worker runs the source `worker` first.

    That finds `arguments` in `sys.argv[1:]`, and takes them out. `keeper` is what the other process
    runs before it begins.
    """
    given = (str(len(arguments)), *arguments)
    return ("-c", KEEPER, f"import sys\n{worker}\n{WORKER}", keeper, *given, "run")
