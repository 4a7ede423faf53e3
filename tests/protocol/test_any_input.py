"""Any input at all for what reads addresses, variables, files and answers, and has no test of that
kind elsewhere: nothing is raised but what is promised, and what comes out is bounded."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import dead_logins
from protocol.accounts import Credential
from protocol.client_judgement import Circumstances, Verdict, is_loopback, judge, same_place
from protocol.config import Config, ConfigInvalid, decode_with_origins, environment_overlay
from protocol.config.overlay import variable_name
from protocol.config.schema import settings
from protocol.credentials import Known
from protocol.destination import destinations
from protocol.explanation import Choice, Pause, spent
from protocol.explanations import Explanations
from protocol.gate import host_name, is_loopback_name
from protocol.hops import Hops, weighed
from protocol.known_credentials import Read, assembled
from protocol.leases import Acquire
from protocol.login import Content
from protocol.model_list import read_page
from protocol.peek import ErrorInfo
from protocol.probe_answers import ProbeAnswer, followed, judged
from protocol.probing import Pace, Probe
from protocol.proxies import Proxy, ProxyInvalid, proxy_for
from protocol.refusals import nobody
from protocol.request import Route
from protocol.request_line import RequestLine, encode_line
from protocol.routing import Considered
from protocol.secrets import Secret
from protocol.told import Ended, Told
from protocol.translation.quirks import quirks_for
from protocol.verdict import Action
from protocol.verdict import judge as judge_answer

# ------------------------------------------------------------------------------------- addresses

HOSTS = st.sampled_from(
    ["localhost", "LOCALHOST.", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "a.example", "[", ""]
)
URLS = st.one_of(
    st.text(max_size=30),
    st.builds(
        "{}://{}{}{}{}".format,
        st.sampled_from(["http", "https", "HTTP", "ftp", ""]),
        st.sampled_from(["", "user:pass@", "@", ":@"]),
        HOSTS,
        st.sampled_from(["", ":0", ":80", ":443", ":99999", ":x", ":-1", ":\u0663"]),
        st.text(max_size=8),
    ),
)


def is_url(text: str) -> bool:
    """As the configuration demands of a base URL."""
    try:
        urlsplit(text)
    except ValueError:
        return False
    return True


ANSWERS = st.sampled_from(["nobody", "supervisor", "somebody"])


@given(URLS, URLS, URLS, ANSWERS, st.booleans(), st.booleans())
def test_wherever_a_client_points_there_is_one_judgement(
    found: str, ours: str, upstream: str, answer: Any, replace: bool, passthrough: bool
) -> None:
    judgement = judge(found, answer, Circumstances(ours, replace, passthrough, upstream))
    assert isinstance(judgement.verdict, Verdict)
    if judgement.verdict is Verdict.ADOPT:
        assert passthrough
        assert not same_place(found, ours)
    assert judge(None, answer, Circumstances(ours)).verdict is Verdict.POINT
    assert same_place(found, found)
    assert same_place(found, ours) == same_place(ours, found)


@pytest.mark.parametrize("answer", ["nobody", "supervisor", "somebody"])
@given(HOSTS, st.booleans(), st.sampled_from(["http://127.0.0.1:4080", "http://a.example"]))
def test_no_judgement_tells_the_password_in_an_address(
    answer: Any, host: str, replace: bool, ours: str
) -> None:
    found = f"http://user:hunter2-of-mine@{host}:4080"
    for passthrough in (True, False):
        judgement = judge(found, answer, Circumstances(ours, replace, passthrough))
        assert "hunter2" not in judgement.reason


@given(URLS, st.sampled_from(["http", "https"]), st.text(max_size=40), st.integers(0, 70_000))
def test_any_proxy_variable_is_a_proxy_or_refused_by_its_name(
    value: str, scheme: str, excepted: str, port: int
) -> None:
    environment = {"https_proxy": value, "HTTP_PROXY": value, "no_proxy": excepted}
    for host in ("api.example", "10.0.0.1", "::1", "localhost"):
        try:
            found = proxy_for(scheme, host, port, environment)
        except ProxyInvalid as refused:
            assert "PROXY" in str(refused)  # noqa: PT017 - either is right
            continue
        assert found is None or (isinstance(found, Proxy) and 0 < found.port <= 65535)
        assert host not in ("::1", "localhost") or found is None


@given(st.one_of(st.text(max_size=30), st.builds("{}:{}".format, HOSTS, st.text(max_size=5))))
def test_any_host_header_has_a_name_or_none(value: str) -> None:
    name = host_name(value)
    assert "@" not in name
    assert "/" not in name
    assert host_name(name) == name or ":" in name, "a name stays what it is"
    if is_loopback_name(name) and ":" not in name:
        assert is_loopback(f"http://{name}")


@given(URLS.filter(is_url))
def test_any_base_url_has_its_quirks(url: str) -> None:
    assert quirks_for(url) == quirks_for(url)


# ------------------------------------------------------------------------------------- variables


@given(
    st.dictionaries(
        st.sampled_from(sorted(variable_name(path) for path in settings()))
        | st.text(max_size=8).map("SUPERVISOR_{}".format),
        st.text(max_size=20)
        | st.sampled_from(["0", "true", "[1]", '"x"', "{a = 1}", "nan", "x = 1"]),
        max_size=5,
    )
)
def test_any_environment_is_a_configuration_or_refused_by_its_variables(
    variables: dict[str, str],
) -> None:
    overlay = environment_overlay(variables)
    assert len(overlay.settings) + len(overlay.unknown) <= len(variables)
    try:
        decoded = decode_with_origins(
            {}, variables=variables, source="config.toml", overlay=overlay.settings
        )
    except ConfigInvalid as invalid:
        named = {setting.origin for setting in overlay.settings} | {"config.toml"}
        assert {error.source for error in invalid.errors} <= named  # noqa: PT017
        return
    assert isinstance(decoded.config, Config)


# ----------------------------------------------------------------------------------------- files

READS = st.builds(
    Read,
    st.none() | st.builds(Content, st.binary(max_size=60), st.floats(0, 2e9)),
    st.sampled_from(["", "unreadable"]),
    st.booleans(),
    st.none() | st.binary(max_size=30),
)


@given(READS, READS, st.dictionaries(st.sampled_from(["/a", "/b"]), READS))
def test_whatever_is_in_the_files_of_credentials_something_is_known(
    store: Read, dead: Read, logins: dict[str, Read]
) -> None:
    before = Known(dead=frozenset({"digest"}))
    known = assembled(before, "/accounts.json", store, dead, logins)
    assert known.logins.keys() == logins.keys()
    if dead.content is None and dead.problem:
        assert known.dead == before.dead


@given(st.binary(max_size=60))
def test_a_file_of_dead_logins_is_read_or_refused(data: bytes) -> None:
    try:
        digests = dead_logins.decode(data)
    except ValueError:
        return
    assert dead_logins.decode(dead_logins.encode(digests, "newest")) == digests | {"newest"}


# ------------------------------------------------------------------------------------- decisions

STATUSES = st.sampled_from([200, 400, 401, 402, 403, 404, 429, 500, 503, 529])
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"retry-after",
                b"x-should-retry",
                b"anthropic-ratelimit-unified-status",
                b"anthropic-ratelimit-unified-5h-utilization",
                b"anthropic-ratelimit-unified-5h-status",
                b"anthropic-ratelimit-unified-representative-claim",
                b"anthropic-ratelimit-requests-remaining",
            ]
        ),
        st.binary(max_size=6)
        | st.sampled_from([b"0", b"1", b"30", b"90", b"true", b"rejected", b"five_hour", b"1e9"]),
    ),
    max_size=5,
).map(tuple)


@given(st.lists(st.tuples(STATUSES, HEADERS, st.booleans()), max_size=8), st.data())
def test_a_request_touches_at_most_one_more_account_after_a_short_limit(
    answers: list[tuple[int, Any, bool]], data: st.DataObject
) -> None:
    """The machine of `hops`: of two short limits at one upstream the second stops."""
    hops, limited = Hops(), 0
    url = data.draw(st.sampled_from(["", "http://a"]))
    for status, headers, after_burst in answers:
        judged_alone = judge_answer(status, headers)
        before = hops
        hops, verdict = weighed(hops, judged_alone, after_burst=after_burst, base_url=url)
        assert (verdict.action is Action.STOP) or verdict.action is judged_alone.action
        if judged_alone.reason in ("burst", "windowless"):
            limited += 1
            assert limited < 2 or verdict.action is Action.STOP
        assert before.short.items() <= hops.short.items(), "nothing that was met is forgotten"
        assert before.forbidden <= hops.forbidden


@given(STATUSES, HEADERS, st.floats(0, 1e6), st.integers(0, 50))
def test_after_any_answer_a_probe_keeps_a_pace(
    status: int, headers: Any, now: float, failures: int
) -> None:
    key = Credential(Secret("k-of-a-probe"), bearer=False)
    probe = Probe("a", "http://a", key, key, "m", "stale")
    event = judged(probe, ProbeAnswer(status, headers, ErrorInfo()), 1_790_000_000.0, now)
    pace = followed(Pace(key, 0.0, 0.0, failures, 0.0), event, now, 0.05)
    assert pace.failures == (failures + 1 if event.failed else 0)
    assert now <= pace.not_before < math.inf


NAMES = st.text(max_size=12) | st.sampled_from(
    ["claude-opus-5-5", "claude-x[1m]", "gpt-5", "*", "["]
)


@given(st.none() | NAMES, st.booleans(), st.dictionaries(NAMES, st.just("p"), max_size=3))
def test_any_model_has_somewhere_to_go(
    asked: str | None, redirected: bool, listed: dict[str, str]
) -> None:
    found = destinations(Config(), asked, redirected=redirected, listed=listed)
    assert found
    assert found[0].accounts or found[0].provider == "p"


@given(
    NAMES, st.dictionaries(NAMES, st.sampled_from(["disabled", "model", "owner", "needs_login"]))
)
def test_a_refusal_is_bounded_whatever_the_client_asked_for(
    model: str, passed: dict[str, str]
) -> None:
    refusal = nobody(Acquire(Route.MESSAGES, model * 10_000), passed)
    assert refusal.message
    assert len(refusal.message) < 1000 + sum(map(len, passed))  # escaped, a character may be ten


@given(st.recursive(st.none() | st.integers() | NAMES, lambda one: st.lists(one) | st.dictionaries(
    st.sampled_from(["data", "models", "id", "name"]), one)))  # fmt: skip
def test_any_document_of_a_provider_is_a_list_of_names(document: object) -> None:
    assert all(isinstance(name, str) and name is not None for name in read_page(document))


# ----------------------------------------------------------------------------------- explanations

MS = st.floats(0, 1e5)
STEPS = st.one_of(
    st.builds(Pause, at=MS, ms=MS, why=st.just("max_wait")),
    st.builds(
        lambda at, ms, name: Choice(at=at, ms=ms, considered=(Considered(name, "passed", "x"),)),
        MS,
        MS,
        st.sampled_from("abcdef"),
    ),
)


@given(st.lists(STEPS, max_size=6), MS, MS)
def test_the_time_of_a_request_is_split_into_parts_that_are_not_negative(
    steps: list[Any], body: float, total: float
) -> None:
    parts = msgspec.structs.astuple(spent(steps, body, total))
    assert all(part >= 0 for part in parts)
    assert sum(parts) >= total - 0.01


PAUSES = st.builds(Pause, MS, MS, st.sampled_from("abcdef"))


@given(st.lists(st.tuples(st.sampled_from("vwxyz"), st.lists(PAUSES, max_size=3)), max_size=40))
def test_the_newest_explanations_are_kept_and_no_others(
    added: list[tuple[str, list[Pause]]],
) -> None:
    limit = 3
    kept = Explanations(limit)
    newest: dict[str, tuple[Pause, ...]] = {}
    for name, steps in added:
        line = RequestLine(at="", request_id=name, method="POST", path="/")
        kept.add(Ended(name, encode_line(line), Told(0.0, 1.0, steps=tuple(steps))))
        newest.pop(name, None)
        newest[name] = tuple(steps)
        while len(newest) > limit:
            del newest[next(iter(newest))]
    assert len(kept) == len(newest)
    for name, steps in newest.items():
        found = kept.find(name)
        assert found is not None
        assert found.explanation.steps == steps
