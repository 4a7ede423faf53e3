"""The price table: that of the package genai-prices, as it was installed. Nothing is downloaded.

Importing it takes a few tenths of a second and 30 MB, so a thread does it when the first price is
needed. Of each model that is met a tariff is kept: the package takes a tenth of a millisecond for
every request, a tariff a microsecond.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from protocol.prices import Billed, Rate, Tariff, cost

log = logging.getLogger("supervisor")

ANTHROPIC = "anthropic"
PER = 1_000_000
"""Tokens that the table's prices are for."""
MODELS_MAX = 512
"""Models remembered; a stranger may make up any number of names."""


class PriceTable:
    """Implements `actors.bookkeeping.Prices`. `base_url` gives a provider's, None: not configured.

    A provider's models are those of the company that its base URL belongs to, else of the one that
    it is named after; a provider that is neither has no prices. Accounts are Anthropic's.
    """

    def __init__(self, base_url: Callable[[str], str | None] = lambda name: None) -> None:
        self._base_url = base_url
        self._began = False
        self._settled = False
        self._providers: list[Any] | None = None
        self._companies: dict[tuple[str, str | None], Any] = {}
        self._models: dict[tuple[str, str | None, str], Any] = {}
        self._tariffs: dict[int, tuple[Any, Tariff | None]] = {}
        self._failed = False
        self.version: str | None = None
        self.date: str | None = None
        """The newest day, not one to come, from which a price in the table holds."""

    def wanted(self) -> None:
        if not self._began:
            self._began = True
            threading.Thread(target=self.read, name="price-table", daemon=True).start()

    @property
    def settled(self) -> bool:
        return self._settled

    def view(self) -> dict[str, object]:
        """For `/status`."""
        state = "not read yet" if not self._settled else "read" if self._providers else "missing"
        return {"table": self.version, "date": self.date, "state": state}

    def read(self) -> None:
        """Reads the table; slow. Never raises: without it there are no costs."""
        self._began = True
        try:
            import genai_prices
            from genai_prices import data_snapshot

            providers = list(data_snapshot.get_snapshot().providers)
            self.version = f"genai-prices {genai_prices.__version__}"
            self.date = _newest(providers, datetime.now(UTC).date())
            self._providers = providers
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a package of strangers
            log.warning("no prices, so no costs: %s: %s", type(error).__name__, error)
        self._settled = True

    def cost(self, tokens: Billed) -> float | None:
        model = tokens.served_model or tokens.model
        if self._providers is None or not model or not tokens.counted:
            return None
        try:
            tariff = self._tariff(model, tokens.provider, _moment(tokens.at))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a package of strangers
            if not self._failed:
                self._failed = True
                log.warning("no price for a model: %s: %s", type(error).__name__, error)
            return None
        return None if tariff is None else cost(tariff, tokens)

    def _tariff(self, model: str, provider: str | None, at: datetime) -> Tariff | None:
        found = self._model(model.lower(), provider or ANTHROPIC, provider is None)
        if found is None:
            return None
        prices = found.get_prices(at)  # some change with the day, or the hour
        known = self._tariffs.get(id(prices))
        if known is None:
            known = (prices, tariff_of(prices))  # the reference keeps the id its own
            self._tariffs[id(prices)] = known
        return known[1]

    def _model(self, model: str, name: str, anthropic: bool) -> Any:
        url = None if anthropic else self._base_url(name)
        key = (name, url, model)
        if key not in self._models:
            if len(self._models) >= MODELS_MAX:
                self._models.clear()
                self._companies.clear()
            company = self._company(name, url)
            found = company and company.find_model(model, all_providers=self._providers)
            self._models[key] = found
        return self._models[key]

    def _company(self, name: str, url: str | None) -> Any:
        from genai_prices import data_snapshot

        if (name, url) not in self._companies:
            found = None
            for ask in ({"provider_api_url": url} if url else None, {"provider_id": name}):
                if ask is None or found is not None:
                    continue
                try:
                    found = data_snapshot.get_snapshot().find_provider(
                        None, ask.get("provider_id"), ask.get("provider_api_url")
                    )
                except LookupError:
                    continue
            self._companies[name, url] = found
        return self._companies[name, url]


def tariff_of(prices: Any) -> Tariff | None:
    """Of a `genai_prices.types.ModelPrice`; None where it does not say what text costs."""
    told_input, told_output = _rate(prices.input_mtok), _rate(prices.output_mtok)
    if told_input is None or told_output is None:
        return None
    return Tariff(
        told_input,
        told_output,
        # What has no price of its own is input like any other.
        _rate(prices.cache_read_mtok) or told_input,
        _rate(prices.cache_write_mtok) or told_input,
    )


def _rate(price: Any) -> Rate | None:
    if price is None:
        return None
    tiers = getattr(price, "tiers", None)
    if tiers is None:
        return Rate(float(price) / PER)
    steps = tuple((int(tier.start), float(tier.price) / PER) for tier in tiers)
    return Rate(float(price.base) / PER, steps)


def _newest(providers: list[Any], today: date) -> str | None:
    days = (
        getattr(priced.constraint, "start_date", None)
        for provider in providers
        for model in provider.models
        if isinstance(model.prices, list)
        for priced in model.prices
    )
    return max((day.isoformat() for day in days if day is not None and day <= today), default=None)


def _moment(at: str) -> datetime:
    try:
        return datetime.fromisoformat(at)
    except ValueError:
        return datetime.now(UTC)
