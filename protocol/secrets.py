"""Credentials wrapped so that they cannot be printed by accident.

A log line, an exception text or a crash report may quote anything: a header, a URL, a whole
request. Two nets catch a credential there: every live `Secret` registers itself, so `scrub` masks
its exact value wherever it turns up; and text that merely has the shape of a credential is masked
even when nobody wrapped it (a token that an upstream put into its error message, for example).
"""

from __future__ import annotations

import hmac
import re
import weakref

MASK = "***"
SHORTEST_MASKED_VALUE = 8
"""Characters. A shorter "secret" would mask ordinary words in every log line."""

_SHAPES = re.compile(
    r"""
    sk-[A-Za-z0-9_-]{6,}                                          # Anthropic, OpenAI and others
    | (?P<before>
        (?i:bearer) \s+ (?=[A-Za-z0-9._~+/=-]{6})                 # Authorization: Bearer ...
        | (?i:x-api-key|x-supervisor-key)
          (?: \s*[:=]\s* | ['"]\s*[:,]\s*b?['"] )                  # as sent; as Python shows it
      ) [^\s'",;]+
    | eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*     # JSON web tokens
    | AIza[A-Za-z0-9_-]{20,}                                      # Google API keys
    """,
    re.VERBOSE,
)


class Secret:
    """A credential: compare it, hand it on, but print it only through `reveal`."""

    __slots__ = ("__weakref__", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        _LIVE[id(self)] = self

    def reveal(self) -> str:
        """The credential itself. Call it where the bytes go onto the wire, nowhere else."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret is not pickled")


# By identity, not in a WeakSet: of two equal secrets a set keeps only the first, and forgets the
# value as soon as that one is gone.
_LIVE: weakref.WeakValueDictionary[int, Secret] = weakref.WeakValueDictionary()


def scrub(text: str) -> str:
    """`text` with every known secret, and everything shaped like one, replaced by `***`."""
    # A list at once: another thread may wrap a secret meanwhile.
    live = [secret for ref in _LIVE.valuerefs() if (secret := ref()) is not None]
    longest = len(text)
    fitting = {
        value for secret in live if SHORTEST_MASKED_VALUE <= len(value := secret._value) <= longest
    }
    for value in sorted(fitting, key=len, reverse=True):
        if value in text:
            text = text.replace(value, MASK)
    return _SHAPES.sub(lambda found: (found["before"] or "") + MASK, text)
