"""What `supervisor usage` takes to sum up a large request log.

    make bench
    python tests/bench/bench_usage.py --quick

Writes 200,000 lines as the journal does (20,000 with --quick), then reads them as the command does,
for each of its dimensions. Seconds of CPU, the best of several rounds. No figure fails the run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from protocol.request_line import RequestLine, encode_line, timestamp
from protocol.usage_report import DIMENSIONS, Report
from supervisor.log_files import blocks, log_files

AGENT = "claude-cli/2.1.100 (external, cli)"
BEGAN = 1_800_000_000


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    arguments, _ = parser.parse_known_args()  # those of the other benchmarks are not ours
    number, rounds = (20_000, 2) if arguments.quick else (200_000, 5)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        size = 0
        with (place / "requests-2027-01-15.jsonl").open("wb") as file:
            for line in _lines(number):
                size += file.write(line)
        torn = place / "torn"
        torn.mkdir()
        whole = (place / "requests-2027-01-15.jsonl").read_bytes()
        (torn / "requests-2027-01-15.jsonl").write_bytes(whole[:-100] + b"\n" + whole[-300:])
        print(f"{number} lines, {size / 1e6:.0f} MB: seconds of CPU")
        for by in DIMENSIONS:
            print(f"  --by {by:<8} {min(_seconds(place, by, number) for _ in range(rounds)):.3f}")
        seconds = min(_seconds(torn, "account", number) for _ in range(rounds))
        print(f"  with a torn line {seconds:.3f}")


def _seconds(place: Path, by: str, number: int) -> float:
    began = time.process_time()
    report = Report(by, "2027-01-01T00:00:00.000Z")
    for path in log_files(place, "requests"):
        for block in blocks(path):
            report.read(path.name, block)
    spent = time.process_time() - began
    assert number - 2 <= report.total().requests <= number + 1
    return spent


def _lines(number: int) -> Iterator[bytes]:
    for place in range(number):
        yield encode_line(
            RequestLine(
                timestamp(BEGAN + place / 10),
                f"{place:032x}",
                "POST",
                "/v1/messages",
                "anthropic",
                "claude-opus-5-5",
                ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5")[place % 3],
                f"account-{place % 7}",
                None,
                AGENT,
                f"{place % 500:08x}-aaaa-bbbb-cccc-0123456789ab",
                None,
                200,
                1,
                True,
                "complete",
                4321.123,
                812.5,
                0.2,
                120_000,
                54_321,
                12,
                900,
                110_000,
                4_000,
                0.0875,
                "session",
                None,
            )
        )


if __name__ == "__main__":
    main()
