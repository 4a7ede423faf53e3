"""The line for status bars, letter by letter."""

from __future__ import annotations

import datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.account import new_account
from protocol.accounts import AccountSpec, AccountState
from protocol.dispatch import DispatchState, Strategy
from protocol.quota import Quota, Window
from protocol.usage_file import SILENT_SECONDS, file_of, percent, usage_line, whole_file

READ = datetime.datetime(2026, 11, 21, 16, 19, 4, tzinfo=datetime.UTC).timestamp()
RESET = READ + 9000


def local(epoch: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(epoch, datetime.UTC)


def window(
    utilization: float | None, status: str | None = "allowed", read_at: float = READ
) -> Window:
    return Window(utilization, status, RESET, read_at)


EXAMPLE = Quota(
    {"overage": window(0.0), "7d": window(0.99, "allowed_warning"), "5h": window(0.09)}, "seven_day"
)


def account(name: str, order: int = 0, quota: Quota = EXAMPLE, kind: str = "token") -> AccountState:
    spec = AccountSpec(name, kind, None, "https://up", order)
    return msgspec.structs.replace(new_account(spec), quota=quota)


def state(*accounts: AccountState, pool: bool = True) -> DispatchState:
    return DispatchState(Strategy(pool, "https://up"), {a.name: a for a in accounts})


def test_the_line_is_the_one_of_the_interface() -> None:
    assert usage_line(EXAMPLE, READ, local) == (
        "5h=9% 7d=99%! overage=0% bottleneck=seven_day (21/11/2026, 16:19:04)"
    )


def test_other_windows_come_last_and_without_a_claim_there_is_no_bottleneck() -> None:
    quota = Quota(
        {"tokens": window(0.5, None), "requests": window(0.8, None), "7d": window(1.2, "rejected")}
    )
    assert (
        usage_line(quota, READ, local) == "7d=120% requests=80% tokens=50% (21/11/2026, 16:19:04)"
    )


def test_the_time_is_the_newest_readings_and_that_of_the_place() -> None:
    quota = Quota({"5h": window(0.1, read_at=READ - 500), "7d": window(0.2)})
    berlin = datetime.timezone(datetime.timedelta(hours=1))
    line = usage_line(quota, READ, lambda e: datetime.datetime.fromtimestamp(e, berlin))
    assert line.endswith("(21/11/2026, 17:19:04)")


def test_what_is_not_known_is_left_out() -> None:
    assert usage_line(Quota(), READ, local) == ""
    assert usage_line(Quota({"5h": window(None, "rejected")}, "five_hour"), READ, local) == ""
    half = Quota({"5h": window(None), "7d": window(0.2)})
    assert usage_line(half, READ, local).startswith("7d=20% (")


def test_a_window_whose_reset_has_passed_is_empty() -> None:
    assert usage_line(EXAMPLE, RESET + 1, local).startswith("5h=0% 7d=0% overage=0% bottleneck")


@pytest.mark.parametrize(
    ("utilization", "shown"),
    [(0.0, 0), (0.004, 0), (0.005, 1), (0.285, 29), (0.145, 15), (0.994, 99), (0.995, 100),
     (1.0, 100), (1e-9, 0), (1.005, 101), (1000.0, 100000)],
)  # fmt: skip
def test_halves_are_rounded_up(utilization: float, shown: int) -> None:
    assert percent(utilization) == shown


@given(st.integers(min_value=0, max_value=100_000))
def test_every_thousandth_rounds_as_on_paper(thousandths: int) -> None:
    assert percent(thousandths / 1000) == (thousandths + 5) // 10


def test_one_account_has_no_name_and_several_have_theirs_in_order() -> None:
    line = usage_line(EXAMPLE, READ, local)
    assert whole_file(state(account("work")), READ, local) == f"{line}\n"
    several = state(account("spare", 1), account("work", 0), account("new", 2, Quota()))
    assert whole_file(several, READ, local) == f"work: {line}\nspare: {line}\n"
    one_read = state(account("work"), account("new", 1, Quota()))
    assert whole_file(one_read, READ, local) == f"work: {line}\n"
    assert whole_file(state(account("new", 0, Quota())), READ, local) == ""


def test_of_clients_those_replaced_or_long_silent_are_left_out() -> None:
    line = usage_line(EXAMPLE, READ, local)
    old = Quota({"7d": window(0.5, read_at=READ - SILENT_SECONDS - 1)})
    clients = [
        account("client-1", kind="client"),
        account("client-2", kind="client"),
        account("client-3", quota=old, kind="client"),
        account("client-4", quota=Quota(), kind="client"),
    ]
    seen = state(*clients, pool=False)
    assert whole_file(seen, READ, local) == f"client-1: {line}\nclient-2: {line}\n"
    assert whole_file(seen, READ, local, {"client-1"}) == f"{line}\n"
    assert file_of(seen, "client-2", READ, local) == f"{line}\n"
    assert file_of(seen, "client-9", READ, local) == file_of(seen, "client-4", READ, local) == ""


def test_what_was_a_clients_is_none_of_the_pools() -> None:
    mixed = state(account("work"), account("client-1", kind="client"))
    assert whole_file(mixed, READ, local).count("\n") == 1
