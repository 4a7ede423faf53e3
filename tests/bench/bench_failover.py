"""What a failover costs: from a 429 of one account to the same request at the next account.

    make bench
    python tests/bench/bench_failover.py --quick

Milliseconds between the upstream's choosing a 429 for the first account and its having read the
request of the second one: the answer's way back, reading and judging it, the report that benches the
account, the next choice, and the way out on an open connection. The whole program, the upstream and
the client share one process and one core, so the program alone is faster. No figure fails the run.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import httpx
import trio

from server.scripted import Answer, ScriptedUpstream, rate_limited, text_message
from server.scripted.requests import SeenRequest
from tests.kit.program import program_over_tcp

CONFIG = """
[upstream]
base_url = "{base_url}"
[[account]]
name = "first"
api_key = "key-first"
[[account]]
name = "second"
api_key = "key-second"
"""
MESSAGE = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


class Clock:
    """An answer, and when it was chosen last."""

    def __init__(self, answer: Answer) -> None:
        self.at = 0.0
        self._answer = answer

    def __call__(self, seen: SeenRequest) -> Answer:
        self.at = time.perf_counter()
        return self._answer


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    arguments, _ = parser.parse_known_args()  # those of the other benchmarks are not ours
    logging.disable(logging.WARNING)
    milliseconds = sorted(trio.run(measured, 30 if arguments.quick else 300))
    worst = milliseconds[int(len(milliseconds) * 0.99)]
    print(f"failover from a 429 to the next account, {len(milliseconds)} times, in milliseconds")
    print(f"  median {statistics.median(milliseconds):.2f}, p99 {worst:.2f}")


async def measured(times: int) -> list[float]:
    """Milliseconds of so many failovers, after a few that open the connections."""
    limited, served = Clock(rate_limited(retry_after=60)), Clock(text_message("hello"))
    upstream = ScriptedUpstream(scripts={"key-first": limited, "key-second": served})
    took: list[float] = []
    async with trio.open_nursery() as nursery:
        base_url = await nursery.start(upstream.serve_tcp)
        with tempfile.TemporaryDirectory() as state:
            config = CONFIG.format(base_url=base_url)
            async with (
                program_over_tcp(config, Path(state)) as program,
                httpx.AsyncClient(base_url=program.url) as client,
            ):
                for _ in range(times + 5):
                    answer = await client.post("/v1/messages", json=MESSAGE)
                    answer.raise_for_status()
                    took.append((served.at - limited.at) * 1000)
                    await client.post("/status/accounts/first/reset", json={})
        nursery.cancel_scope.cancel()
    return took[5:]


if __name__ == "__main__":
    main()
