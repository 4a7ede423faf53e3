"""docs/mutation.md: made of what was measured and of the reasons for what survived."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "mutation.md"
RESULTS = Path(__file__).parent / "results.json"
EXPLAINED = Path(__file__).parent / "explained.json"

Results = dict[str, dict[str, Any]]
Explained = dict[str, dict[str, str]]

DECISIONS = (
    "account", "affinity", "asked", "benches", "body_edit", "client_judgement", "client_lease",
    "client_plan", "config/accounts_model", "config/compare", "config/decode", "config/errors",
    "config/forms", "config/model", "config/overlay", "config/program_model",
    "config/providers_model", "config/reader", "config/rules", "config/schema", "config/values",
    "config/variables", "credentials", "cut_characters", "destination", "dispatch",
    "early_events", "egress", "eligibility", "event_picker", "forecast", "gate", "headers",
    "held_stream", "hops", "inbound_keys", "keeping", "key_file", "key_limits",
    "limits_evidence", "local_limit", "members", "peek", "pointing", "prices", "probe_answers",
    "probing", "proxies", "quota", "ramp", "redirect", "refreshing", "refusals", "repeats",
    "replay", "request", "restart", "routing", "settings", "sse", "strategies", "token_file",
    "translation/answer_openai", "translation/collect", "translation/data_url",
    "translation/foreign_state", "translation/from_gemini", "translation/from_openai",
    "translation/grammar", "translation/output_limit", "translation/provider_error",
    "translation/provider_stream", "translation/quirks", "translation/read_anthropic",
    "translation/read_content", "translation/read_openai", "translation/read_tools",
    "translation/refusal", "translation/returning", "translation/schema",
    "translation/signature_marks", "translation/stop_words", "translation/to_gemini",
    "translation/to_openai", "translation/tool_names", "translation/turn_order",
    "translation/whole_object", "translation/writer", "unasked_usage", "upstream_clock",
    "verdict", "waiting",
)  # fmt: skip
"""Modules that decide: of these every survivor is killed or explained."""

INTRODUCTION = """\
# Do the tests notice?

`make mutation` changes `protocol/` in one small way after another (a bound, a word of a table, a
comparison, a call that is left out) and runs the tests of that module. A change that no test notices
*survives*. The score is the share of changes that were noticed, of those that make a difference.

This page is written by the run (`tests/mutation/results.json`), together with the reasons that
somebody gave for survivors (`tests/mutation/explained.json`). Only the fast tests in
`tests/protocol` count here, without those that repeat themselves; wording, annotations and
docstrings are not changed. `make mutation` measures again what changed since it was measured.
"""


def results() -> Results:
    """By module: code, digest, measured, mutants, seconds, survivors."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def keep(name: str, result: dict[str, Any]) -> None:
    """Write one module's result down."""
    everything = {**results(), name: result}
    RESULTS.write_text(json.dumps(everything, indent=1, sort_keys=True) + "\n")


def explained() -> Explained:
    """By module and mutant: why no test can or should tell it from the original."""
    return json.loads(EXPLAINED.read_text()) if EXPLAINED.exists() else {}


def render(measured: Results, reasons: Explained) -> str:
    """The page."""
    lines = [INTRODUCTION]
    for title, names in _groups(measured):
        lines += [f"## {title}", ""]
        lines += [
            "| module | mutants | noticed | survived | of these explained | score | measured |"
        ]
        lines += ["|---|---:|---:|---:|---:|---:|---|"]
        lines += [_row(name, measured[name], reasons.get(name, {})) for name in names]
        lines += [""]
    missing = ", ".join(sorted(_modules() - set(measured)))
    lines += [f"Not measured yet: {missing}." if missing else "Every module is measured.", ""]
    lines += ["## Survivors that are explained", ""]
    for name, why in sorted(reasons.items()):
        alive = measured.get(name, {}).get("survivors", [])
        told = [f"- `{_code(mutant)}`: {why[mutant]}" for mutant in alive if mutant in why]
        if told:
            lines += [f"### {name}", "", *told, ""]
    lines += ["## Survivors that are not", ""]
    if not any(
        set(one["survivors"]) - set(reasons.get(name, {})) for name, one in measured.items()
    ):
        lines += ["None.", ""]
    for name, result in sorted(measured.items()):
        open_ones = [one for one in result["survivors"] if one not in reasons.get(name, {})]
        if open_ones:
            lines += [f"### {name}", "", *(f"- `{_code(mutant)}`" for mutant in open_ones), ""]
    return "\n".join(lines)


def unexplained(measured: Results, reasons: Explained) -> list[str]:
    """Survivors in modules that decide, for which nobody gave a reason."""
    return [
        f"{name}: {mutant}"
        for name in DECISIONS
        for mutant in measured.get(name, {}).get("survivors", [])
        if mutant not in reasons.get(name, {})
    ]


def _modules() -> set[str]:
    folder = ROOT / "protocol"
    files = (file.relative_to(folder) for file in folder.rglob("*.py") if file.read_text().strip())
    return {file.with_suffix("").as_posix() for file in files}


def _groups(measured: Results) -> Iterator[tuple[str, list[str]]]:
    decisions = [name for name in DECISIONS if name in measured]
    others = sorted(name for name in set(measured) - set(decisions) if measured[name]["mutants"])
    yield "What decides", decisions
    if others:
        yield "The rest of what was measured", others


def _row(name: str, result: dict[str, Any], why: dict[str, str]) -> str:
    mutants, alive = result["mutants"], result["survivors"]
    known = sum(mutant in why for mutant in alive)
    noticed = mutants - len(alive)
    score = 100.0 * noticed / (mutants - known) if mutants > known else 100.0
    return (
        f"| {name} | {mutants} | {noticed} | {len(alive)} | {known} | {score:.1f} % "
        f"| {result['measured']} |"
    )


def _code(mutant: str) -> str:
    return mutant.replace("`", "'")


def main() -> int:
    """Write it."""
    PAGE.write_text(render(results(), explained()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
