"""The commented `config.toml` that `supervisor setup` writes where there is none."""

from __future__ import annotations

_TEXT = """\
# llm-supervisor. Every key has a default; a line with a # before it shows the default. A change is
# noticed within two seconds. `supervisor check` says what is in effect; every key is in
# docs/configuration-reference.md.

[server]
# host = "127.0.0.1"          # off loopback: only with [access] token or keys
{port}
# drain_seconds = 30.0        # at a stop, streams may end for so long

[upstream]
# base_url = "https://api.anthropic.com"
# ca_file = ""                # more trust anchors, where a corporate proxy opens TLS

# Accounts are in the token store (`supervisor auth list`), or here. `${{NAME}}` takes a variable of the
# environment.
#
# [[account]]
# name = "work"
# api_key = "${{ANTHROPIC_API_KEY_WORK}}"
# priority = 0                # lower is tried first

[routing]
# strategy = "fill-first"     # round-robin, weighted, drain-soonest, least-used, hybrid
# affinity_seconds = 3600.0   # a session stays with its account for so long; 0: off
# max_wait = 2.0              # everybody rests, the first is back within this: wait
# max_hold = 0.0              # the same for long waits: a stream is kept open by pings until then

# Who serves when no account can; its models are translated.
#
# [[provider]]
# name = "openai"
# dialect = "openai"          # openai, gemini, anthropic
# base_url = "https://api.openai.com/v1"
# api_key = "${{OPENAI_API_KEY}}"
#
# [[fallback]]
# provider = "openai"
# model = "gpt-5"

[client]
{manage}
# replace = false             # true: also where they point at somebody else
# on_down = "restore"         # stay: not pointed away while we cannot serve

[access]
# token = ""                  # whoever asks has to send it; off loopback this or keys
# subscription_use = "owner"  # a subscription serves its owner's own Claude Code alone

[logs]
# level = "info"              # debug, info, warning, error
# keep_days = 7
# bodies = false              # true: prompts and answers in the debug log
"""

DEFAULT_PORT = 4080


def first_config(*, port: int = DEFAULT_PORT, manage: bool = True) -> str:
    """The text, with what was chosen written out."""
    return _TEXT.format(
        port=_line("port", str(port), port == DEFAULT_PORT, ""),
        manage=_line(
            "manage",
            "true" if manage else "false",
            manage,
            "Claude Code's settings point here while it runs",
        ),
    )


def _line(key: str, value: str, usual: bool, comment: str) -> str:
    line = f"{'# ' if usual else ''}{key} = {value}"
    return f"{line:<30}# {comment}" if comment else line
