"""What the order of turns costs, by how many there are: `python tests/bench/bench_translation.py`.

A request is translated in one step of the loop, so what grows by the square of its turns would hold
up everybody. Processor milliseconds; twice as many turns should take twice as long.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from protocol.translation import to_openai
from protocol.translation.quirks import quirks_for
from protocol.translation.read_anthropic import read_request
from tests.protocol.translation.test_order_of_turns import crowd

CROWDS = ("the assistant", "results, backwards", "results, one by one", "the user")
COUNTS = (2_500, 5_000, 10_000, 20_000)


def milliseconds(which: int, count: int) -> float:
    """The best of three."""
    request = {"model": "m", "max_tokens": 1, "messages": crowd(count)[which]}
    quirks, found = quirks_for("https://api.openai.com/v1"), []
    for _ in range(3):
        began = time.process_time()
        to_openai.write_request(read_request(request), "gpt-4o", quirks)
        found.append((time.process_time() - began) * 1e3)
    return min(found)


def main() -> None:
    """Prints a table."""
    print(f"{'neighbours':<22}" + "".join(f"{count:>10,}" for count in COUNTS))
    for which, name in enumerate(CROWDS):
        row = "".join(f"{milliseconds(which, count):>10.1f}" for count in COUNTS)
        print(f"{name:<22}{row}")


if __name__ == "__main__":
    main()
