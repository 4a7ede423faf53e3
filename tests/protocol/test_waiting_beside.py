"""Who waits beside others: for another account, or while somebody else's upstream is limited."""

from __future__ import annotations

from protocol import waiting
from protocol.egress import EgressLimited, limited
from protocol.ramp import START
from tests.protocol.test_dispatch import account, asking, pool
from tests.protocol.test_waiting import Door, two


def test_a_limit_of_another_upstream_lets_nobody_through_sooner() -> None:
    door = two()
    waits = [door.ask(asking()) for _ in range(START + 1)][-1]
    door.state = limited(door.state, EgressLimited("https://elsewhere", 5.0), door.now)
    door.let_through()
    assert waits not in door.got


def test_the_next_look_is_when_the_first_of_all_lines_is_due() -> None:
    door = Door(pool(*(account(name, n) for n, name in enumerate("abc"))))
    door.switched()
    for _ in range(START + 9):
        door.ask(asking())
    door.pass_time(0.06)
    door.rests("b", 700.0)
    for _ in range(3):
        door.ask(asking(), patience=0.01)
    assert len(door.line.queues) == 1
    alone = waiting.due(door.state, door.line)
    early = waiting.Waiter(999, asking(patient_until=door.now + 0.001), door.now, "b")
    both = waiting.joined(door.line, early)
    assert waiting.due(door.state, both) <= door.now + 0.001 < alone + 1
    assert waiting.due(door.state, both) < alone
