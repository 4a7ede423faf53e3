"""`make fuzz`: runs the targets with inputs that libFuzzer makes from what the code does with them.

    python tests/fuzz/fuzz.py                       every target for a minute
    python tests/fuzz/fuzz.py --seconds 600 events  one of them for ten

What breaks a target is saved below .fuzz/broken, and the exit code is 1. Copy it to
tests/fuzz/corpus/TARGET once it is understood: from then on `make test` runs it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

FOUND = ROOT / ".fuzz" / "corpus"
BROKEN = ROOT / ".fuzz" / "broken"
INPUT_BYTES_MAX = 4096
SPENT_SECONDS = 20
"""For one input; more is a hang."""
MEMORY_MB = 1024


def main() -> int:
    """The exit code: 0 when nothing broke."""
    parser = argparse.ArgumentParser()
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all of them without")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:  # before anything that it is to watch is imported
        _fuzz(asked.targets[0], asked.seconds)
    from tests.fuzz.targets import TARGETS

    unknown = sorted(set(asked.targets) - set(TARGETS))
    if unknown:
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: it has wheels for Linux and Python 3.11 to 3.13 only")
        return 1
    BROKEN.mkdir(parents=True, exist_ok=True)
    broken = [name for name in asked.targets or TARGETS if not _holds(name, asked.seconds)]
    for path in sorted(BROKEN.iterdir()):
        print(f"broken by {path.relative_to(ROOT)}")
    print(f"broken: {', '.join(broken)}" if broken else "nothing broke")
    return 1 if broken else 0


def _holds(name: str, seconds: int) -> bool:
    """Each target in a process of its own: a crash ends only that."""
    print(f"== {name}", flush=True)
    command = [sys.executable, __file__, "--one", "--seconds", str(seconds), name]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    told = ran.stderr.splitlines()
    shown = [line for line in told if line.startswith("#") and " cov: " in line]
    print("\n".join(shown[-1:] if ran.returncode == 0 else told[-40:]), flush=True)
    if not shown:
        print("nothing was watched: the code under test was not instrumented")
    return ran.returncode == 0 and bool(shown)


def _fuzz(name: str, seconds: int) -> None:
    """Does not return: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["protocol", "server"]):
        from tests.fuzz.targets import CORPUS, SPEAKS_JSON, TARGETS

    kept = FOUND / name
    kept.mkdir(parents=True, exist_ok=True)
    arguments = [
        "fuzz",
        f"-max_total_time={seconds}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-timeout={SPENT_SECONDS}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={BROKEN}/{name}-",
        "-print_final_stats=1",
        f"-dict={Path(__file__).parent / 'words.dict'}",
        str(kept),
        str(CORPUS / name),
    ]
    mutator = {"custom_mutator": _change_json} if name in SPEAKS_JSON else {}
    atheris.Setup(arguments, TARGETS[name], **mutator)
    atheris.Fuzz()


def _change_json(data: bytes, most: int, seed: int) -> bytes:
    """Half of the time the JSON in it, node by node: bytes alone hardly ever change a type."""
    import atheris

    from tests.fuzz.pieces import CONTROL_BYTES, document, spoilt

    rng = random.Random(seed)
    control, good = data[:CONTROL_BYTES], document(data[CONTROL_BYTES:])
    if isinstance(good, dict | list) and rng.random() < 0.7:
        for _ in range(rng.randrange(1, 4)):
            good = spoilt(good, rng)
        changed: bytes = control + json.dumps(good).encode()
        if len(changed) <= most:
            return changed
    mutated: bytes = atheris.Mutate(data, most)
    return mutated


if __name__ == "__main__":
    sys.exit(main())
