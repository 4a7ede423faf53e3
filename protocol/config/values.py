"""The kinds of values that a key of the configuration may have, with their constraints.

The types carry the constraints (`Meta`); `decode` reads them. Durations are seconds, sizes bytes,
utilization a fraction from 0 to 1. A path is text; when it comes from
`supervisor.configuration.load` it is absolute and `~` is expanded. A URL never ends with a slash.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from protocol.secrets import Secret

LONGEST_DURATION = 365 * 86400
"""Seconds. Longer ones overflow dates and timers, and nobody means them."""
LARGEST_SIZE = 2**50
"""Bytes."""
LARGEST_COUNT = 1_000_000

Port = Annotated[int, Meta(ge=0, le=65535)]
Size = Annotated[int, Meta(ge=1, le=LARGEST_SIZE, extra={"unit": "bytes"})]
Count = Annotated[int, Meta(ge=0, le=LARGEST_COUNT)]
PositiveCount = Annotated[int, Meta(ge=1, le=LARGEST_COUNT)]
Priority = Annotated[int, Meta(ge=-LARGEST_COUNT, le=LARGEST_COUNT)]
Seconds = Annotated[float, Meta(gt=0, le=LONGEST_DURATION, extra={"unit": "seconds"})]
SecondsOrZero = Annotated[float, Meta(ge=0, le=LONGEST_DURATION, extra={"unit": "seconds"})]
Threshold = Annotated[float, Meta(gt=0, le=1)]
Margin = Annotated[float, Meta(ge=0, lt=1)]

# The forms are checked in `protocol.config.forms`; "optional" lets the empty text through.
Text = Annotated[str, Meta(extra={"form": "text"})]
Name = Annotated[str, Meta(extra={"form": "name"})]
HostName = Annotated[str, Meta(extra={"form": "host"})]
Origin = Annotated[str, Meta(extra={"form": "origin"})]
Url = Annotated[str, Meta(extra={"form": "url"})]
OptionalUrl = Annotated[str, Meta(extra={"form": "url", "optional": True})]
FilePath = Annotated[str, Meta(extra={"form": "path"})]
OptionalPath = Annotated[str, Meta(extra={"form": "path", "optional": True})]
AutoPath = Annotated[str, Meta(extra={"form": "path", "optional": True, "words": ("auto",)})]
VariableName = Annotated[str, Meta(extra={"form": "variable"})]
FreeText = Annotated[str, Meta(extra={"form": "free text"})]
HeaderName = Annotated[str, Meta(extra={"form": "header"})]
HeaderSecret = Annotated[Secret, Meta(extra={"form": "header value", "required": True})]
RequiredSecret = Annotated[Secret, Meta(extra={"required": True})]
"""Where it is written at all, an empty one is a mistake (an unset variable, most often)."""

Strategy = Literal["fill-first", "round-robin", "weighted", "drain-soonest", "least-used", "hybrid"]
Dialect = Literal["openai", "gemini", "anthropic"]
