"""From a parsed TOML document to a `Config`, or to all that is wrong with it.

msgspec's own `convert` stops at the first mistake. `reader` reads every value on its own, `rules`
judges them together, and the author sees everything in one run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from protocol.config import schema
from protocol.config.errors import ConfigError, ConfigInvalid
from protocol.config.model import Config
from protocol.config.overlay import Setting, merged
from protocol.config.reader import Reader
from protocol.config.rules import broken_rules


class Decoded(Struct, frozen=True):
    """A valid configuration and what is worth knowing about its text."""

    config: Config
    origins: Mapping[str, str]
    """Every key's full path -> `default`, `file`, or where a `Setting` came from."""
    literal_secrets: tuple[str, ...]
    """Paths of the secrets written out in the file instead of taken from a variable."""


def decode(document: Mapping[str, object], *, variables: Mapping[str, str], source: str) -> Config:
    """The configuration a document means.

    `variables` are what `${VAR}` may name; `source` is the file's name, for the errors.
    Raises `ConfigInvalid`, with every mistake.
    """
    return decode_with_origins(document, variables=variables, source=source).config


def decode_with_origins(
    document: Mapping[str, object],
    *,
    variables: Mapping[str, str],
    source: str,
    overlay: Sequence[Setting] = (),
    resolve_path: Callable[[str], str] = str,
    further_rules: Callable[[Config], Iterable[ConfigError]] = lambda _: (),
) -> Decoded:
    """As `decode`, with `overlay` over the document (later settings win) and the origins kept.

    `resolve_path` makes each file path what the program will open. `further_rules` are the
    caller's own checks, so that their errors come together with ours; it is given a configuration
    in which defaults stand for wrong values.
    """
    origins = {setting.path: setting.origin for setting in overlay}
    reader = Reader(variables, source, origins, resolve_path)
    config = reader.table(schema.root(), merged(document, overlay), "")
    assert isinstance(config, Config)
    for path, refused in broken_rules(config, reader.origins, reader.wrong):
        reader.refuse(path, refused)
    further = (replace(e, source=origins.get(e.path, e.source)) for e in further_rules(config))
    errors = (*reader.errors, *further)
    if errors:
        raise ConfigInvalid(errors)
    return Decoded(config, reader.origins, tuple(reader.literal_secrets))
