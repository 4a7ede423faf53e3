"""What a start says."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import msgspec
import pytest

from protocol import pointing
from protocol.pointing import ClientFile, Pointing
from supervisor import banner
from supervisor.configuration import AccountSource, Loaded
from supervisor.instance import Instance
from tests.kit.program import configured

HERE = Instance(pid=1, host="127.0.0.1", port=4080, started_at="", id="x", version="1")


def loaded(text: str, *sources: AccountSource) -> Loaded:
    return Loaded(configured(text), Path("/etc/c.toml"), {}, (), sources)


def test_the_line_that_programs_wait_for_has_scheme_host_and_port() -> None:
    assert banner.listening_line(HERE) == "listening on http://127.0.0.1:4080"
    six = msgspec.structs.replace(HERE, host="::1", scheme="https")
    assert banner.listening_line(six) == "listening on https://[::1]:4080"


def test_a_pool_names_who_pays_in_the_order_in_which_they_do_and_never_a_key() -> None:
    text = (
        '[[account]]\nname = "last"\napi_key = "key-of-last"\npriority = 9\n'
        '[[account]]\nname = "off"\napi_key = "key-of-off"\nenabled = false\n'
        '[[account]]\nname = "first"\ntoken = "token-of-first"\npriority = -1\n'
    )
    said = "\n".join(banner.lines(loaded(text, "file"), HERE))
    assert "pool of 3: first (token), off (API key, disabled), last (API key)" in said
    assert "environment;" not in said
    assert "key-of" not in said
    assert "token-of" not in said


@pytest.mark.parametrize(
    ("routing", "told"),
    [
        ("", "in this order (fill-first)"),
        ('[routing]\nstrategy = "least-used"\n', "shared inside a priority (least-used)"),
    ],
)
def test_who_pays_names_the_configured_strategy(routing: str, told: str) -> None:
    text = f'{routing}[[account]]\nname = "a"\napi_key = "key"\n'
    assert told in "\n".join(banner.lines(loaded(text, "file"), HERE))


def test_accounts_of_the_environment_are_said_to_be_from_there() -> None:
    text = '[[account]]\nname = "env-api-key"\napi_key = "key"\n'
    said = "\n".join(banner.lines(loaded(text, "environment"), HERE))
    assert "these come from your environment" in said


def test_without_accounts_the_client_pays() -> None:
    said = "\n".join(banner.lines(msgspec.structs.replace(loaded(""), path=None), HERE))
    assert "configuration: none, the defaults are used" in said
    assert "mode: passthrough" in said
    assert "whoever a client's own credential belongs to" in said
    assert "ANTHROPIC_BASE_URL=http://127.0.0.1:4080" in said


def test_quiet_says_the_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    banner.show(loaded(""), HERE, quiet=True)
    assert capsys.readouterr().out == "listening on http://127.0.0.1:4080\n"
    banner.show(loaded(""), HERE, quiet=False)
    assert capsys.readouterr().out.splitlines()[0] == "listening on http://127.0.0.1:4080"


def test_an_output_that_nobody_reads_any_more_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(io.TextIOWrapper):
        def flush(self) -> None:
            raise BrokenPipeError

    with (tmp_path / "out").open("wb") as file, Broken(file, write_through=True) as broken:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", broken)
            banner.show(loaded(""), HERE, quiet=False)
        os.write(file.fileno(), b"after")
        monkeypatch.setattr(Broken, "flush", io.TextIOWrapper.flush)
    assert b"after" not in (tmp_path / "out").read_bytes(), "it leads nowhere now"


def test_a_pointed_client_is_named_with_its_file_its_keys_and_the_way_back() -> None:
    clients = pointing.view(
        pointing.pointed(
            Pointing(),
            (
                ClientFile("/s.json", "pointed", "requests go on", ("ANTHROPIC_BASE_URL", "X")),
                ClientFile("/t.json", "stood back", "/t.json is read-only"),
            ),
        )
    )
    said = "\n".join(banner.lines(loaded(""), HERE, clients=clients))
    assert "Claude Code points here: /s.json (requests go on)" in said
    assert "keys set: ANTHROPIC_BASE_URL, X" in said
    assert "supervisor client restore" in said
    assert "left as it is: /t.json is read-only" in said
    assert "point a client here" not in said


def test_a_client_that_was_left_alone_is_explained_and_can_be_pointed_by_hand() -> None:
    back = pointing.pointed(Pointing(), (ClientFile("/s.json", "stood back", "why"),))
    said = "\n".join(banner.lines(loaded(""), HERE, clients=pointing.view(back)))
    assert "left as it is: why" in said
    assert "point a client here: ANTHROPIC_BASE_URL=http://127.0.0.1:4080" in said
