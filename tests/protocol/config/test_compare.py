"""What a changed configuration needs to take effect."""

from __future__ import annotations

import tomllib

import pytest

from protocol.config import Config, decode, leaves, restart_needed
from protocol.config.schema import settings


def read(text: str) -> Config:
    return decode(tomllib.loads(text), variables={}, source="f")


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("", ()),
        ('[server]\nport = 1\nhost = "::1"', ("server.host", "server.port")),
        ("[server]\nexpress = false", ("server.express",)),
        (
            '[server]\ntls_certificate = "c"\ntls_key = "k"',
            ("server.tls_certificate", "server.tls_key"),
        ),
        ("[server]\nmax_body_bytes = 1\ndrain_seconds = 1\nmax_connections = 1", ()),
        ('[server]\nmax_inflight_bytes = 1\nallowed_hosts = ["a"]', ()),
        ('[server]\nallowed_origins = ["http://a"]', ()),
        ('[upstream]\nbase_url = "http://a"\n[access]\ntoken = "t"', ()),
        ('[[account]]\nname = "a"\napi_key = "k"', ()),
        ("[supervision]\nintensity = 1", ("supervision.intensity",)),
        ("[client]\nrestore_after = 9\nreplace = true", ("client.restore_after",)),
        ('[client]\non_down = "stay"', ("client.on_down",)),
        ('[logs]\nlevel = "debug"\ndirectory = "d"', ("logs.directory",)),
    ],
)
def test_a_restart_is_asked_for_only_where_it_is_needed(text: str, paths: tuple[str, ...]) -> None:
    assert restart_needed(Config(), read(text)) == paths
    assert restart_needed(read(text), Config()) == paths


def test_a_configuration_has_a_leaf_for_each_key() -> None:
    config = read('[[account]]\nname = "a"\napi_key = "k"\nmetadata = { x = { y = 1 } }')
    paths = [path for path, _ in leaves(config)]
    assert set(settings()) <= set(paths)
    assert "account[0].metadata" in paths
    assert len(paths) == len(set(paths))


@pytest.mark.parametrize("changed", ["tls_certificate", "tls_key"])
def test_another_certificate_needs_no_restart(changed: str) -> None:
    files = {"tls_certificate": "c", "tls_key": "k"}
    before, after = (
        read("[server]\n" + "".join(f'{key} = "{path}"\n' for key, path in one.items()))
        for one in (files, {**files, changed: "other"})
    )
    assert restart_needed(before, after) == ()
