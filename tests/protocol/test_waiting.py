"""Who waits in line for a ramp: in which order, for how long, and that nobody stays behind."""

from __future__ import annotations

from collections import Counter

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from protocol import waiting
from protocol.accounts import AccountState, Cooldown, Counters, Scope
from protocol.dispatch import (
    AccountChanged,
    Acquire,
    DispatchState,
    Later,
    Lease,
    Refusal,
    Release,
    changed,
    released,
)
from protocol.egress import EgressLimited, limited
from protocol.ramp import RAMP_SECONDS, START, Ramp
from protocol.routing import Considered
from protocol.waiting import NEVER, Line, Waiter
from tests.protocol.test_dispatch import account, asking, bench, pool
from tests.protocol.test_routing import under


def egress_limited(state: DispatchState, seconds: float, now: float) -> DispatchState:
    """Of every account's upstream."""
    for known in state.members():
        state = limited(state, EgressLimited(known.spec.base_url, seconds), now)
    return state


class Door:
    """The dispatcher without its mailbox: who got what and when."""

    def __init__(self, state: DispatchState) -> None:
        self.state = state
        self.line = Line()
        self.now = 0.0
        self.tickets = 0
        self.came: dict[int, float] = {}
        self.got: dict[int, Lease | Refusal] = {}
        self.open: dict[int, Lease] = {}

    def ask(self, ask: Acquire, patience: float = RAMP_SECONDS) -> int:
        self.let_through()
        self.tickets += 1
        ticket = self.tickets
        self.came[ticket] = self.now
        ask = msgspec.structs.replace(ask, patient_until=self.now + patience)
        self.state, outcome = waiting.choose(self.state, self.line, ask, self.now)
        self.take(Waiter(ticket, ask, self.now, ""), outcome)
        return ticket

    def take(self, waiter: Waiter, outcome: Lease | Refusal | Later) -> None:
        if isinstance(outcome, Later):
            moved = msgspec.structs.replace(waiter, account=outcome.account)
            self.line = waiting.joined(self.line, moved)
            return
        self.got[waiter.ticket] = outcome
        if isinstance(outcome, Lease):
            self.open[outcome.id] = outcome

    def let_through(self) -> None:
        rounds = 0
        while (waiter := waiting.ready(self.state, self.line, self.now)) is not None:
            rounds += 1
            assert rounds < 10_000, "it never ends"
            self.line = waiting.left(self.line, waiter)
            self.state, outcome = waiting.choose_for(self.state, waiter, self.now)
            self.take(waiter, outcome)

    def end(self, lease: Lease) -> None:
        del self.open[lease.id]
        self.state = released(self.state, Release(lease.id, lease.account))
        self.let_through()

    def become(self, known: AccountState) -> None:
        self.state = changed(self.state, AccountChanged(known))
        self.let_through()

    def rests(self, name: str, until: float) -> None:
        known = self.state.accounts[name]
        self.become(msgspec.structs.replace(known, cooldowns=(bench(until),)))

    def pass_time(self, seconds: float) -> None:
        """As the actor does: woken whenever somebody is due."""
        end = self.now + seconds
        while (due := waiting.due(self.state, self.line)) <= end:
            assert due > self.now, "woken for nothing"
            self.now = due
            self.let_through()
        self.now = end

    def switched(self) -> None:
        """`a` carried traffic and is benched."""
        self.ask(asking())
        self.rests("a", self.now + 600.0)


def two() -> Door:
    door = Door(pool(account("a", 0), account("b", 1)))
    door.switched()
    return door


def account_of(door: Door, ticket: int) -> str:
    outcome = door.got[ticket]
    return outcome.account if isinstance(outcome, Lease) else f"refused: {outcome.cause}"


def test_they_are_let_through_in_the_order_they_came_as_others_end() -> None:
    door = two()
    tickets = [door.ask(asking()) for _ in range(START + 3)]
    assert [ticket in door.got for ticket in tickets] == [True] * START + [False] * 3
    for nth in range(3):
        door.end(next(lease for lease in door.open.values() if lease.account == "b"))
        assert [ticket in door.got for ticket in tickets[START:]] == [
            place <= nth for place in range(3)
        ]


def test_nobody_waits_longer_than_the_ramp_and_time_alone_lets_all_through() -> None:
    door = two()
    tickets = [door.ask(asking()) for _ in range(200)]
    assert door.line.count == 200 - START
    door.pass_time(RAMP_SECONDS)
    assert door.line == Line()
    assert {account_of(door, ticket) for ticket in tickets} == {"b"}
    assert waiting.due(door.state, door.line) == NEVER


def test_a_lease_says_how_long_was_waited_and_for_whom() -> None:
    door = two()
    ticket = [door.ask(asking()) for _ in range(START + 1)][-1]
    door.pass_time(1.0)
    lease = door.got[ticket]
    assert isinstance(lease, Lease)
    assert lease.reasons == ("fill-first", "a is cooling", "waited 0.1 s for the ramp of b")
    assert lease.considered[-1].outcome == "waited"


def test_one_who_has_waited_before_is_let_through_first() -> None:
    door = two()
    tickets = [door.ask(asking()) for _ in range(START + 5)]
    hurried = door.ask(asking(), patience=0.01)
    door.pass_time(0.02)
    assert hurried in door.got
    assert not any(ticket in door.got for ticket in tickets[START:])


def test_a_bench_of_the_account_sends_all_who_wait_for_it_to_the_next_choice() -> None:
    door = Door(pool(*(account(name, n) for n, name in enumerate("abc"))))
    door.switched()
    tickets = [door.ask(asking()) for _ in range(START + 9)]
    door.rests("b", 700.0)
    assert [account_of(door, t) for t in tickets[START : 2 * START]] == ["c"] * START
    assert [waiter.account for waiter in door.line.queues["c"]] == ["c"] * 5
    door.rests("c", 700.0)
    assert door.line == Line()
    assert {account_of(door, t) for t in tickets[2 * START :]} == {"refused: limited"}


def test_a_limit_of_the_egress_is_told_to_all_who_wait() -> None:
    door = two()
    tickets = [door.ask(asking()) for _ in range(START + 9)]
    door.state = egress_limited(door.state, 0.5, door.now)
    door.let_through()
    assert {account_of(door, t) for t in tickets[START:]} == {"refused: limited"}
    refused = door.got[tickets[-1]]
    assert isinstance(refused, Refusal)
    assert refused.considered[-1] == Considered("b", "waited", "ramp"), "and that he waited"
    door.pass_time(1.0)
    door.state = msgspec.structs.replace(
        door.state, traffic=msgspec.structs.replace(
            door.state.traffic, ramps={"b": Ramp(door.now)})
    )  # fmt: skip
    assert door.ask(asking()) not in door.got, "it is over, and so he waits like anybody"


def test_a_beta_that_is_only_sent_to_be_refused_waits_for_nothing() -> None:
    door = two()
    for _ in range(START):
        door.ask(asking())
    beta = Cooldown(Scope.BETA, "context-1m", "long_context", 0.0, 600.0, 0, "body")
    known = door.state.accounts["b"]
    door.become(msgspec.structs.replace(known, cooldowns=(beta,)))
    assert door.ask(asking(betas=("context-1m-2025-08-07",))) in door.got
    assert door.ask(asking()) not in door.got


def test_past_a_thousand_in_line_the_others_are_let_through_at_once() -> None:
    door = two()
    for _ in range(START + waiting.WAITING_MAX):
        door.ask(asking())
    assert door.line.count == waiting.WAITING_MAX
    assert account_of(door, door.ask(asking())) == "b"
    assert door.line.count == waiting.WAITING_MAX


class AnythingMayHappen(RuleBasedStateMachine):
    """Nobody waits past his time, no lease is lost, and nobody is woken for nothing."""

    names = st.sampled_from("abc")

    def __init__(self) -> None:
        super().__init__()
        accounts = [account(name, order) for order, name in enumerate("abc")]
        self.door = Door(under("fill-first", *accounts))

    @rule(name=st.sampled_from(["fill-first", "round-robin", "weighted", "least-used", "hybrid"]))
    def restrategize(self, name: str) -> None:
        policy = under(name).strategy
        self.door.state = msgspec.structs.replace(self.door.state, strategy=policy)

    @rule(
        times=st.integers(1, 12),
        tried=st.sets(names, max_size=2),
        patience=st.sampled_from([0.0, 0.3, RAMP_SECONDS]),
        session=st.sampled_from([None, "x", "y"]),
        betas=st.sampled_from([(), ("context-1m-2025-08-07",)]),
    )
    def ask(
        self,
        times: int,
        tried: set[str],
        patience: float,
        session: str | None,
        betas: tuple[str, ...],
    ) -> None:
        for _ in range(times):
            self.door.ask(
                asking(tried=tuple(sorted(tried)), session=session, betas=betas), patience
            )

    @precondition(lambda self: self.door.open)
    @rule(data=st.data(), times=st.integers(1, 5))
    def end(self, data: st.DataObject, times: int) -> None:
        for _ in range(min(times, len(self.door.open))):
            self.door.end(self.door.open[data.draw(st.sampled_from(sorted(self.door.open)))])

    @rule(name=names, rests=st.sampled_from([0.0, 0.5, 30.0]), enabled=st.booleans())
    def become(self, name: str, rests: float, enabled: bool) -> None:
        known = self.door.state.accounts[name]
        cooldowns = (bench(self.door.now + rests),) if rests else ()
        successes = known.counters.successes + (0 if rests else 2)
        self.door.become(
            msgspec.structs.replace(
                known,
                cooldowns=cooldowns,
                enabled=enabled,
                counters=Counters(successes=successes),
            )
        )

    @rule(seconds=st.sampled_from([0.2, 20.0]), name=st.sampled_from(["a", "b", "c", None]))
    def egress(self, seconds: float, name: str | None) -> None:
        known = self.door.state.accounts.get(name or "")
        if known is None:
            self.door.state = egress_limited(self.door.state, seconds, self.door.now)
        else:
            event = EgressLimited(known.spec.base_url, seconds)
            self.door.state = limited(self.door.state, event, self.door.now)
        self.door.let_through()

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.5, 2.0, 15.0]))
    def wait(self, seconds: float) -> None:
        self.door.pass_time(seconds)

    @invariant()
    def everybody_is_served_or_in_line_and_not_for_too_long(self) -> None:
        door = self.door
        in_line = [w.ticket for queue in door.line.queues.values() for w in queue]
        assert sorted([*door.got, *in_line]) == list(range(1, door.tickets + 1))
        assert all(door.now - door.came[ticket] < RAMP_SECONDS for ticket in in_line)
        assert all(queue for queue in door.line.queues.values())

    @invariant()
    def what_is_in_flight_are_the_leases_that_are_out(self) -> None:
        held = Counter(lease.account for lease in self.door.open.values())
        assert self.door.state.in_flight == dict(held)

    @invariant()
    def nobody_waits_who_could_go(self) -> None:
        assert waiting.ready(self.door.state, self.door.line, self.door.now) is None
        assert waiting.due(self.door.state, self.door.line) > self.door.now

    def teardown(self) -> None:
        self.door.pass_time(RAMP_SECONDS)
        assert self.door.line == Line()


TestAnythingMayHappen = AnythingMayHappen.TestCase
