"""What each finished request is entered into: the price table and the metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.bookkeeping import Bookkeeping
from protocol.config import Config
from protocol.forecast import QuotaHistory
from protocol.status_view import utc
from protocol.tally import Tally
from supervisor.price_table import PriceTable


class Accounting:
    """Of one life of the program. `real`: on a made-up machine no thread reads a table."""

    def __init__(self, config: Callable[[], Config], *, real: bool) -> None:
        self._config = config
        self.prices = PriceTable(self._base_url)
        self.tally = Tally()
        self.history = QuotaHistory()
        self.books = Bookkeeping(self.prices if real else None, self.tally.finished)

    def forecasts(self, account: dict[str, Any], now: float) -> dict[str, Any]:
        """`forecast` of an entry of `accounts` in `/status`: the windows of which one can be made."""
        told = self.history.forecasts(account["name"], account["quota"], now)
        return {
            name: {
                "rate_per_hour": forecast.rate_per_hour,
                "full_at": None if forecast.full_at is None else utc(forecast.full_at),
            }
            for name, forecast in told.items()
        }

    def _base_url(self, provider: str) -> str | None:
        known = (one for one in self._config().providers if one.name == provider)
        return next((one.base_url for one in known), None)
