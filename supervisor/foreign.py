"""What the requests need of this program to be served by providers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.config import Config
from server.attempt_trace import AttemptTrace, Detail
from server.foreign import Foreign

if TYPE_CHECKING:
    from supervisor.parts import Parts


def foreign_of(parts: Parts) -> Foreign:
    """Reads `parts` anew for each request, so a reload counts at once."""
    return Foreign(
        config=lambda: parts.config,
        providers=parts.providers,
        upstream=parts.upstreams,
        pool=lambda: parts.door.rules().pool,
        new_id=lambda: f"msg_{parts.random.getrandbits(96):024x}",
        trace=AttemptTrace(parts.journal, lambda: _detail(parts.config), parts.wall_clock),
    )


def _detail(config: Config) -> Detail:
    """Bodies are asked for by name alone, never by a level."""
    return Detail(config.logs.bodies or config.logs.level == "debug", config.logs.bodies)
