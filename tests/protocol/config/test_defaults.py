"""What is meant by a key that is not written: the same as what the documentation says."""

from __future__ import annotations

import tomllib

import pytest

from protocol.config import Config, decode

DOCUMENTED = """
[server]
host = "127.0.0.1"
port = 4080
max_body_bytes = 67108864
max_connections = 1000
max_inflight_bytes = 1073741824
allowed_hosts = []
allowed_origins = []
express = true
drain_seconds = 30
tls_certificate = ""
tls_key = ""

[upstream]
base_url = "https://api.anthropic.com"
connect_timeout = 10
response_timeout = 600
idle_timeout = 180
max_connections = 1024
ca_file = ""

[routing]
strategy = "fill-first"
affinity_seconds = 3600
switch_at = { "5h" = 0.98, "7d" = 0.98 }
max_wait = 2
max_hold = 0
max_attempts = 0

[cooldown]
base = 1
maximum = 600
auth = 300
ladder = []

[refresh]
ahead = 600
blocking_under = 60
attempts = 1
disable_after = 15
timeout = 30

[oauth]
client_id = ""
authorize_url = ""
token_url = ""

[probe]
enabled = true
interval = 300
maximum_interval = 3600
model = "claude-haiku-5-5"
subscriptions = false
api_key = ""

[redirect]
provider = ""
at = { "5h" = 0.90, "7d" = 0.90, "overage" = 0.80 }
hysteresis = 0.05
opus = ""
sonnet = ""
haiku = ""

[models]
aliases = {}
long_context = []

[client]
manage = true
settings = []
replace = false
usage_file = "auto"
environment = { ENABLE_TOOL_SEARCH = "true", CLAUDE_CODE_ENABLE_FINE_GRAINED_TOOL_STREAMING = "1" }
auth_token = "auto"
on_down = "restore"
restore_after = 3
direct_url = ""
release_after = 5

[access]
keys = false
token = ""
subscription_use = "owner"

[logs]
directory = ""
level = "info"
bodies = false
keep_days = 7
maximum_bytes = 524288000
rotate_interval = 3600

[supervision]
intensity = 5
period = 30
backoff = 0.1
maximum_backoff = 10
"""

ACCOUNT = """
[[account]]
name = "work"
api_key = "k"
"""
ACCOUNT_IN_FULL = """
follow = "auto"
enabled = true
weight = 1
priority = 0
requests_per_minute = 0
models = ["*"]
exclude_models = []
base_url = ""
metadata = {}
"""

PROVIDER = """
[[provider]]
name = "openai"
base_url = "https://api.openai.com/v1"
"""
PROVIDER_IN_FULL = """
dialect = "openai"
api_key = ""
headers = {}
models = []
"""

ROUTE = '[[route]]\nmatch = "gpt-*"\nprovider = "openai"\n'
ROUTE_IN_FULL = 'model = ""\naccounts = false\n'


def read(text: str) -> Config:
    return decode(tomllib.loads(text), variables={}, source="config.toml")


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("", DOCUMENTED),
        (ACCOUNT, ACCOUNT + ACCOUNT_IN_FULL),
        (PROVIDER + ROUTE, PROVIDER + PROVIDER_IN_FULL + ROUTE + ROUTE_IN_FULL),
    ],
    ids=["tables", "account", "provider and route"],
)
def test_what_is_not_written_means_what_is_documented(short: str, long: str) -> None:
    assert read(short) == read(long)
