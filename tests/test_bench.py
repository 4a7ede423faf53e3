"""What the benchmarks calculate and write down; what they measure is `make bench`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

# The programs of the benchmark are started as such, and find each other by their plain names.
sys.path.append(str(Path(__file__).parent / "bench"))

import figures
import folding
import recorded

RUN_OF_WRK = """\
Running 4s test @ http://127.0.0.1:4080
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   686.17ms  124.47ms   1.07s    83.87%
  Latency Distribution
     50%  645.55us
     75%  673.75ms
     90%  920.71ms
     99%    1.07s 
  1062 requests in 4.05s, 144.10KB read
  Socket errors: connect 0, read 19, write 0, timeout 0
Requests/sec:    262.35
Transfer/sec:     47.29KB
"""  # noqa: W291 - wrk pads seconds so


def test_a_straight_line_is_found_as_it_is() -> None:
    line = figures.slope([(x, 3.0 * x + 7) for x in range(10)])
    assert line.rise == pytest.approx(3.0)
    assert line.error == pytest.approx(0.0, abs=1e-9)


def test_memory_that_goes_up_and_down_has_no_slope_but_an_error() -> None:
    line = figures.slope([(float(x), 80.0 + x % 2) for x in range(101)])
    assert abs(line.rise) < 1e-9
    assert line.error > 0


@given(
    st.floats(-100, 100),
    st.lists(st.integers(0, 1000), min_size=3, max_size=30, unique=True),
)
def test_the_fit_does_not_depend_on_where_the_line_lies(rise: float, places: list[int]) -> None:
    here = figures.slope([(x, rise * x) for x in places])
    there = figures.slope([(x + 500, rise * x + 1000) for x in places])
    assert here.rise == pytest.approx(there.rise, abs=1e-4)
    assert here.rise == pytest.approx(rise, abs=1e-4)


@pytest.mark.parametrize("points", [[], [(1.0, 1.0), (2.0, 2.0)], [(1.0, 1.0)] * 5])
def test_too_few_points_are_no_line(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="three points"):
        figures.slope(points)


def test_a_percentile_is_a_sample_that_was_taken() -> None:
    samples = [float(number) for number in range(1, 101)]
    assert figures.percentile(samples, 0.99) == 99.0
    assert figures.percentile(samples, 1.0) == 100.0
    assert figures.median(samples) == 50.0
    assert figures.percentile([7.0], 0.99) == 7.0
    with pytest.raises(ValueError, match="no sample"):
        figures.percentile([], 0.5)


def test_what_wrk_prints_is_read_in_seconds_whatever_its_units() -> None:
    assert figures.of_wrk(RUN_OF_WRK) == figures.Load(
        1062, 262.35, pytest.approx(645.55e-6), 1.07, "connect 0, read 19, write 0, timeout 0"
    )
    assert figures.of_wrk("unable to connect to 127.0.0.1:1 Connection refused") is None


def test_a_table_is_markdown_with_its_numbers_to_the_right() -> None:
    assert figures.markdown(["relay", "/s"], [["a|b", "17,028"], ["nginx", "-"]]) == [
        "| relay |     /s |",
        "| ----- | -----: |",
        "| a\\|b  | 17,028 |",
        "| nginx |      - |",
    ]
    with pytest.raises(ValueError, match="zip"):
        figures.markdown(["one"], [["1", "2"]])


def test_a_rate_that_is_small_is_not_written_as_none() -> None:
    cells = [figures.shown(value) for value in (17_028.4, 12.4, 0.26, None)]
    assert cells == ["17,028", "12", "0.3", "-"]


def test_a_bar_is_met_at_its_limit_and_not_beyond_it() -> None:
    assert figures.at_most("p50", 0.25, 0.25, "ms").met is True
    assert figures.at_most("p50", 0.25, 0.2501, "ms").met is False
    assert figures.at_least_as("rate", "Node", 9496, 9496).met is True
    assert figures.at_least_as("rate", "Node", 9495, 9496).met is False


def test_a_figure_that_could_not_be_taken_is_neither_met_nor_missed() -> None:
    for bar in (
        figures.at_most("idle", 0.5, None, "%", note="of one core"),
        figures.at_least_as("rate", "Node", None, 1.0),
        figures.at_least_as("rate", "Node", 1.0, None),
    ):
        assert bar.cells()[2:] == ("-", "not measured")


FOLDED = """\
process 7:"python -m supervisor";main (/home/u/p/supervisor/worker.py:81);run (/v/lib/python3.11/site-packages/trio/_core/_run.py:9) 3
main (supervisor/worker.py:81);run (/v/lib/python3.11/site-packages/trio/_core/_run.py:20);judge (protocol/verdict.py:4) 5
main (supervisor/worker.py:81);loads (/usr/lib/python3.11/json/__init__.py:3) 2
run (threading.py:1);WorkerThread._work (trio/_core/_thread_cache.py:213) 900
 4
"""


def test_a_profile_is_shared_out_by_module_and_by_function() -> None:
    found = folding.stacks(FOLDED)
    modules = {share.name: share for share in folding.shares(found, "module")}
    assert modules["protocol/verdict.py"].own == pytest.approx(0.5)
    assert modules["trio/_core/_run.py"] == folding.Share("trio/_core/_run.py", 0.3, 0.8)
    assert modules["supervisor/worker.py"] == folding.Share("supervisor/worker.py", 0.0, 1.0)
    assert modules["json/__init__.py"].own == pytest.approx(0.2)
    functions = folding.shares(found, "function")
    assert [share.name for share in functions][:2] == [
        "judge (protocol/verdict.py)",
        "run (trio/_core/_run.py)",
    ]
    assert sum(share.own for share in functions) == pytest.approx(1.0)


def test_a_recursive_function_counts_once_in_a_stack() -> None:
    (share,) = folding.shares(folding.stacks("f (a.py:1);f (a.py:2);f (a.py:1) 4"), "function")
    assert share == folding.Share("f (a.py)", 1.0, 1.0)


def test_what_is_no_profile_is_refused_with_its_line() -> None:
    with pytest.raises(ValueError, match="line 2"):
        folding.stacks("f (a.py:1) 4\nError: Permission denied\n")


def test_the_benchs_stream_is_one_whole_message_of_recorded_events() -> None:
    stream = recorded.events()
    assert len(stream) == recorded.EVENTS
    kinds = [event.split(b"\n")[0].removeprefix(b"event: ") for event in stream]
    assert (kinds[0], kinds[-1]) == (b"message_start", b"message_stop")
    assert kinds.count(b"message_start") == kinds.count(b"content_block_start") == 1
    assert kinds.index(b"content_block_start") < kinds.index(b"content_block_delta")
    assert len({len(event) for event in stream}) > 5


@pytest.mark.parametrize("size", recorded.SIZES.values())
def test_the_benchs_bodies_have_the_size_they_are_called_by(size: int) -> None:
    assert len(recorded.message(size)) == size
    assert len(recorded.question(size, stream=True)) == size
