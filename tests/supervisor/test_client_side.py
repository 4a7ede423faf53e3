"""The small parts between the guard and the files: who answers, our key, the adopted upstream."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from supervisor import configuration
from supervisor.client_key import PREFIX, client_key, known_key
from supervisor.client_side import adopted_upstream, with_upstream
from supervisor.who_answers import who_answers
from tests.supervisor.stub_instance import stub_instance

GATEWAY = "https://gateway.test"


def test_the_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    assert known_key(tmp_path) is None
    key = client_key(tmp_path)
    assert key.reveal().startswith(PREFIX)
    assert client_key(tmp_path) == key == known_key(tmp_path)
    assert stat.S_IMODE((tmp_path / "client.key").stat().st_mode) == 0o600
    assert client_key(tmp_path / "nowhere") != key


def test_what_is_no_key_of_ours_is_not_taken_for_one(tmp_path: Path) -> None:
    for content in (b"", b"sk-ant-something", PREFIX.encode(), b"\xff\xfe"):
        (tmp_path / "client.key").write_bytes(content)
        assert known_key(tmp_path) is None


def test_who_answers_is_told_apart(state: Path) -> None:
    with stub_instance(state) as server:
        port = server.server_address[1]
        assert who_answers(f"http://127.0.0.1:{port}") == "supervisor"
    assert who_answers(f"http://127.0.0.1:{port}") == "nobody"
    assert who_answers("http://127.0.0.1:99999") == "nobody"
    assert who_answers("http://[::1") == "nobody"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def load(tmp_path: Path, text: str) -> configuration.Loaded:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return configuration.load(file, overrides={}, environ={})


@pytest.mark.parametrize(
    ("text", "adopts"),
    [
        ("", True),
        ("[client]\nmanage = false", False),
        ("[client]\nreplace = true", False),
        ('[upstream]\nbase_url = "https://api.anthropic.com"', False),
        ('[[account]]\nname = "a"\napi_key = "k"', False),
    ],
)
def test_the_clients_upstream_is_adopted_where_nothing_else_was_asked_for(
    tmp_path: Path, text: str, adopts: bool
) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text('{"env": {"ANTHROPIC_BASE_URL": "https://gateway.test"}}')
    loaded = load(tmp_path, text)
    environ = {"CLAUDE_CONFIG_DIR": str(tmp_path)}
    adopted = adopted_upstream(loaded, tmp_path / "state", environ)
    assert adopted == (GATEWAY if adopts else "")
    taken = with_upstream(loaded, GATEWAY).config.upstream.base_url
    if "manage" not in text and "replace" not in text:
        assert (taken == GATEWAY) is adopts
