"""What is known after a look at files that cannot be understood."""

from __future__ import annotations

import pytest

from protocol.credentials import Known
from protocol.known_credentials import Read, assembled
from protocol.login import Content

STORE = b'{"version": 1, "accounts": {"a": {"kind": "api_key", "accessToken": "sk-ant-api03-x"}}}'
LOGIN = b'{"claudeAiOauth": {"accessToken": "sk-ant-oat01-x", "expiresAt": 1}}'


def look(before: Known, store: bytes, login: bytes) -> Known:
    reads = {"/login": Read(Content(login, 1.0))}
    return assembled(before, "/store", Read(Content(store, 1.0)), Read(), reads)


@pytest.mark.parametrize(("store", "login"), [(b"{bad", LOGIN), (STORE, b"{bad")])
def test_what_was_read_before_is_spoken_of_where_something_was(store: bytes, login: bytes) -> None:
    (problem,) = look(Known(), store, login).problems
    assert "cannot be used" in problem
    assert "before" not in problem
    (problem,) = look(look(Known(), STORE, LOGIN), store, login).problems
    assert problem.endswith("; what was read before stays in force")
