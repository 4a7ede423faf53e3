"""What each finished request is entered into: the price table and the metrics."""

from __future__ import annotations

from collections.abc import Callable

from actors.bookkeeping import Bookkeeping
from protocol.config import Config
from supervisor.price_table import PriceTable


class Accounting:
    """Of one life of the program. `real`: on a made-up machine no thread reads a table."""

    def __init__(self, config: Callable[[], Config], *, real: bool) -> None:
        self._config = config
        self.prices = PriceTable(self._base_url)
        self.books = Bookkeeping(self.prices if real else None, lambda entry: None)

    def _base_url(self, provider: str) -> str | None:
        known = (one for one in self._config().providers if one.name == provider)
        return next((one.base_url for one in known), None)
