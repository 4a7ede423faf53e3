"""The installed price table: whose prices, and that ours are those of the package."""

from __future__ import annotations

import logging
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from genai_prices import Usage, calc_price, data_snapshot

from protocol.prices import Billed
from supervisor.price_table import MODELS_MAX, PriceTable

AT = "2026-11-20T12:00:00Z"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
URLS = {"mine": "https://api.openai.com/v1", "local": "http://127.0.0.1:8000/v1"}


@pytest.fixture(scope="module")
def table() -> PriceTable:
    table = PriceTable(URLS.get)
    table.read()
    return table


def told(model: str | None, provider: str | None = None, **tokens: int) -> Billed:
    tokens = tokens or {"input_tokens": 1000, "output_tokens": 100}
    return Billed(AT, served_model=model, provider=provider, **tokens)


def test_a_model_of_an_account_has_the_prices_of_anthropic(table: PriceTable) -> None:
    wanted = calc_price(
        Usage(input_tokens=1000, output_tokens=100), "claude-opus-5-5", provider_id="anthropic",
        genai_request_timestamp=NOON,
    )  # fmt: skip
    assert table.cost(told("claude-opus-5-5")) == pytest.approx(float(wanted.total_price))


def test_what_comes_from_the_cache_is_cheaper_and_what_goes_into_it_dearer(
    table: PriceTable,
) -> None:
    model = "claude-opus-5-5"
    read = table.cost(told(model, cache_read_tokens=1000))
    new = table.cost(told(model, input_tokens=1000))
    written = table.cost(told(model, cache_write_tokens=1000))
    assert read is not None
    assert new is not None
    assert written is not None
    assert 0 < read < new < written


@pytest.mark.parametrize("model", ["claude-made-up-9", "made-up", "", None, "x" * 300])
def test_an_unknown_model_is_unpriced_and_not_free(table: PriceTable, model: str | None) -> None:
    assert table.cost(told(model)) is None


def test_a_model_of_an_account_is_not_looked_for_at_other_companies(table: PriceTable) -> None:
    assert table.cost(told("gpt-5")) is None


def test_a_provider_is_known_by_its_base_url_or_else_by_its_name(table: PriceTable) -> None:
    wanted = table.cost(told("gpt-5", "openai"))
    assert wanted is not None
    assert table.cost(told("gpt-5", "mine")) == wanted


def test_a_provider_that_is_nobody_we_know_has_no_prices(table: PriceTable) -> None:
    assert table.cost(told("gpt-5", "local")) is None
    assert table.cost(told("gpt-5", "made-up")) is None


def test_a_request_that_told_no_tokens_is_unpriced(table: PriceTable) -> None:
    assert table.cost(Billed(AT, served_model="claude-opus-5-5")) is None


def test_a_table_that_has_not_been_read_prices_nothing() -> None:
    table = PriceTable()
    assert not table.settled
    assert table.cost(told("claude-opus-5-5")) is None
    assert table.view() == {"table": None, "date": None, "state": "not read yet"}


def test_the_table_says_which_it_is_and_of_what_day(table: PriceTable) -> None:
    view = table.view()
    assert str(view["table"]).startswith("genai-prices ")
    assert "2026-01-01" < str(view["date"]) <= datetime.now(UTC).date().isoformat()
    assert view["state"] == "read"


def test_no_number_of_made_up_models_is_remembered(table: PriceTable) -> None:
    for number in range(2 * MODELS_MAX):
        assert table.cost(told(f"made-up-{number}")) is None
    assert len(table._models) <= MODELS_MAX


SIZES = (
    {"input_tokens": 1000, "output_tokens": 100},
    {"input_tokens": 150_000, "output_tokens": 5000, "cache_read_tokens": 60_000},
    {"input_tokens": 300_000, "output_tokens": 1, "cache_write_tokens": 900_000},
)


@pytest.mark.parametrize("tokens", SIZES)
@pytest.mark.parametrize("provider", ["anthropic", "openai", "google", "deepseek", "groq"])
def test_every_model_costs_what_the_package_says(
    table: PriceTable, provider: str, tokens: dict[str, int]
) -> None:
    (company,) = (p for p in data_snapshot.get_snapshot().providers if p.id == provider)
    everything = {**tokens, "input_tokens": sum(tokens.values()) - tokens["output_tokens"]}
    compared = 0
    for model in company.models:
        ours = table.cost(told(model.id, provider, **tokens))
        if ours is None:
            continue
        wanted = calc_price(
            Usage(**everything), model.id, provider_id=provider, genai_request_timestamp=NOON
        )
        assert ours == pytest.approx(float(wanted.total_price), abs=1e-7), model.id
        compared += 1
    assert compared >= len(company.models) // 3


def test_a_package_that_cannot_be_imported_costs_the_costs_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    table = PriceTable()
    with caplog.at_level(logging.WARNING):
        table.read()
    assert table.settled
    assert table.cost(told("claude-opus-5-5")) is None
    assert table.view()["state"] == "missing"
    assert "no prices" in caplog.text


def test_the_table_is_not_imported_before_somebody_wants_it() -> None:
    code = (
        "import sys, supervisor.worker; from supervisor.price_table import PriceTable; "
        "PriceTable(); sys.exit('genai_prices' in sys.modules or 'pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=50).returncode == 0
