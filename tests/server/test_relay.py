"""The relay in virtual time: what a client sees when accounts and upstreams fail."""

from __future__ import annotations

import pytest
import trio

from server.scripted import (
    Answer,
    Cut,
    KeyLimit,
    Pause,
    ScriptedUpstream,
    Send,
    Stall,
    Wait,
    Window,
    error,
    event,
    forbidden,
    key_limit_headers,
    no_answer,
    overloaded,
    rate_limited,
    server_error,
    stall_before_head,
    stream,
    stream_with_early_error,
    text_message,
    text_stream,
    unauthorized,
    unified_headers,
)
from tests.kit.http_client import MemoryClient, Received
from tests.kit.program import EPOCH, RunningProgram, program_in_memory

ONE = '[[account]]\nname = "first"\napi_key = "key-first"\n'
TWO = ONE + '[[account]]\nname = "second"\napi_key = "key-second"\n'

MESSAGE = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
STREAM = {**MESSAGE, "stream": True}


async def ask(program: RunningProgram, document: object = MESSAGE, **headers: str) -> Received:
    """One request on a connection of its own."""
    client = MemoryClient(await program.connect())
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post("/v1/messages", document, named)


async def lines(program: RunningProgram) -> list[dict[str, object]]:
    """The newest request lines."""
    client = MemoryClient(await program.connect())
    answer = (await client.get("/status/requests")).json()
    assert isinstance(answer, dict)
    found: list[dict[str, object]] = answer["requests"]
    return found


@pytest.mark.promise("U2")
@pytest.mark.parametrize(
    "failure",
    [
        rate_limited(retry_after=30),
        rate_limited(),
        unauthorized(),
        forbidden(),
        server_error(500),
        server_error(503),
        no_answer(),
        stream_with_early_error("api_error", "internal"),
        stream_with_early_error("rate_limit_error", "slow down"),
        text_stream("never seen").interrupted(1),
        text_stream("never seen").interrupted(0),
    ],
)
async def test_a_failure_before_the_first_content_moves_on_unseen(
    failure: Answer, autojump_clock: object
) -> None:
    """The client gets the second account's stream and never hears of the first."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", failure)
    upstream.script("key-second", text_stream("hello"))
    async with program_in_memory(TWO, upstream) as program:
        answer = await ask(program, STREAM)
        assert answer.complete
        assert answer.body == text_stream("hello").whole_body()
        assert answer.header("x-supervisor-account") == "second"
        assert answer.header("x-supervisor-attempts") == "2"
        (line,) = await lines(program)
    assert [seen.credential for seen in upstream.requests] == ["key-first", "key-second"]
    assert (line["status"], line["terminal"], line["attempts"]) == (200, "complete", 2)


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
async def test_an_error_about_the_request_is_forwarded_at_once(
    status: int, autojump_clock: object
) -> None:
    """No other account could do better, and the client adapts to the upstream's wording."""
    upstream = ScriptedUpstream()
    refusal = error(status, "invalid_request_error", "messages.1.role: Input should be 'user'")
    upstream.script("key-first", refusal)
    async with program_in_memory(TWO, upstream) as program:
        answer = await ask(program)
    assert (answer.status, answer.body) == (status, refusal.whole_body())
    assert len(upstream.requests) == 1


@pytest.mark.promise("U6")
async def test_when_all_fail_the_first_answer_is_forwarded_with_the_true_retry_after(
    autojump_clock: object,
) -> None:
    """First 429 says 300 s, but the second account is back in 40 s."""
    upstream = ScriptedUpstream()
    first = rate_limited(retry_after=300, message="the first")
    upstream.script("key-first", first)
    upstream.script("key-second", rate_limited(retry_after=40, message="the second"))
    async with program_in_memory(TWO, upstream) as program:
        answer = await ask(program)
        assert (answer.status, answer.body) == (429, first.whole_body())
        assert answer.header("retry-after") == "40"
        again = await ask(program)
        assert again.status == 429
        assert again.header("retry-after") == "40"
        assert again.header("x-should-retry") is None
        assert b"every account is at its limit" in again.body
    assert len(upstream.requests) == 2


@pytest.mark.promise("U6")
async def test_a_cooled_account_serves_again_after_exactly_its_retry_after(
    autojump_clock: object,
) -> None:
    """Judged when a request comes, by nobody's timer."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", rate_limited(retry_after=30), then=text_message("back"))
    async with program_in_memory(ONE, upstream) as program:
        assert (await ask(program)).status == 429
        await trio.sleep(27)
        assert (await ask(program)).status == 429
        assert len(upstream.requests) == 1
        await trio.sleep(3.1)
        assert (await ask(program)).status == 200


@pytest.mark.promise("U6")
async def test_a_fifty_times_repeated_limit_does_not_climb_the_ladder(
    autojump_clock: object,
) -> None:
    """Fifty requests that meet one limit at once are one event: back after one second."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", *[rate_limited().after(0.5)] * 50, then=text_message("back"))
    async with program_in_memory(ONE, upstream) as program:
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(ask, program)
        await trio.sleep(1.1)
        assert (await ask(program)).status == 200


@pytest.mark.promise("U7")
async def test_an_overload_is_tried_twice_more_on_the_same_account(
    autojump_clock: object,
) -> None:
    """A 529 is never the account's fault, and often over within seconds."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", overloaded(), overloaded(), then=text_message("calm again"))
    async with program_in_memory(TWO, upstream) as program:
        answer = await ask(program)
        assert (answer.status, answer.header("x-supervisor-account")) == (200, "first")
    assert [seen.credential for seen in upstream.requests] == ["key-first"] * 3


@pytest.mark.promise("U7")
async def test_an_overload_that_stays_is_forwarded_and_benches_nobody(
    autojump_clock: object,
) -> None:
    """Three tries, the upstream's own 529, and the account is available still."""
    upstream = ScriptedUpstream()
    upstream.default(overloaded())
    async with program_in_memory(TWO, upstream) as program:
        answer = await ask(program)
        assert (answer.status, answer.body) == (529, overloaded().whole_body())
        client = MemoryClient(await program.connect())
        accounts = (await client.get("/status/accounts")).json()
    assert len(upstream.requests) == 3
    assert isinstance(accounts, dict)
    assert {account["state"] for account in accounts["accounts"]} == {"available"}


@pytest.mark.promise("U3")
async def test_a_stream_that_breaks_after_its_first_content_is_broken_off_visibly(
    autojump_clock: object,
) -> None:
    """Never retried, never glued: the bytes so far, then no end marker."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", text_stream("hello", events=3).interrupted(4))
    async with program_in_memory(TWO, upstream) as program:
        answer = await ask(program, STREAM)
        assert not answer.complete
        assert answer.status == 200
        assert text_stream("hello", events=3).whole_body().startswith(answer.body)
        assert b"content_block_start" in answer.body
        (line,) = await lines(program)
    assert len(upstream.requests) == 1
    assert (line["terminal"], line["status"]) == ("upstream_closed", 200)


@pytest.mark.promise("U4")
async def test_a_silent_stream_is_broken_off_at_the_idle_timeout(autojump_clock: object) -> None:
    """170 s of silence pass, 180 s are the end; nothing is added to a passed-on stream."""
    upstream = ScriptedUpstream()
    whole = text_stream("hello", events=2)
    sends = [step for step in whole.steps() if isinstance(step, Send)]
    upstream.script("key-first", whole_with(whole, [*sends[:4], Pause(170), *sends[4:5], Stall()]))
    async with program_in_memory(ONE, upstream) as program:
        began = trio.current_time()
        answer = await ask(program, STREAM)
        assert not answer.complete
        assert answer.body == b"".join(send.data for send in sends[:5])
        assert 349 <= trio.current_time() - began <= 352
        (line,) = await lines(program)
    assert line["terminal"] == "stall"


@pytest.mark.promise("U4")
async def test_an_upstream_that_never_answers_is_given_up_at_the_response_timeout(
    autojump_clock: object,
) -> None:
    """600 s for a head, then the next account."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", stall_before_head())
    upstream.script("key-second", text_message("hello"))
    async with program_in_memory(TWO, upstream) as program:
        began = trio.current_time()
        answer = await ask(program)
        assert answer.header("x-supervisor-account") == "second"
        assert 599 <= trio.current_time() - began <= 602


async def test_a_slow_first_content_is_shown_after_one_second(autojump_clock: object) -> None:
    """The head and what there is go out then; an error event after it is passed on."""
    upstream = ScriptedUpstream()
    whole = stream_with_early_error("overloaded_error")
    sends = [step for step in whole.steps() if isinstance(step, Send)]
    start = Send(event("message_start", {"type": "message_start", "message": {}}))
    upstream.script("key-first", whole_with(whole, [start, Pause(1.5), *sends]))
    async with program_in_memory(TWO, upstream) as program:
        client = MemoryClient(await program.connect())
        began = trio.current_time()
        await client.send("POST", "/v1/messages", b'{"model": "m", "stream": true}')
        head = await client.receive_head()
        assert 0.9 <= trio.current_time() - began <= 1.2
        while await client.receive_more(head):
            pass
    assert head.complete
    assert b"overloaded_error" in head.body
    assert len(upstream.requests) == 1


def whole_with(answer: Answer, parts: list[object]) -> Answer:
    """`answer` with other steps."""
    return Answer(status=answer.status, headers=answer.headers, parts=tuple(parts))  # type: ignore[arg-type]


@pytest.mark.promise("U1")
async def test_no_upstream_at_all_is_a_502_that_says_so(autojump_clock: object) -> None:
    """Our own answer, in the dialect's shape, only because there is no upstream's to forward."""
    upstream = ScriptedUpstream()
    upstream.default(no_answer())
    async with program_in_memory(TWO, upstream) as program:
        answer = await ask(program)
    document = answer.json()
    assert answer.status == 502
    assert isinstance(document, dict)
    assert document["error"]["type"] == "api_error"
    assert "could not be reached" in document["error"]["message"]


@pytest.mark.promise("C2")
@pytest.mark.parametrize("phase", ["waiting", "between events"])
async def test_a_client_that_leaves_closes_its_upstream_within_a_second(
    phase: str, autojump_clock: object
) -> None:
    """In every phase; it is written down as 499 and hurts no account."""
    upstream = ScriptedUpstream()
    slow = text_stream("hello", events=5, pause=60) if phase != "waiting" else stall_before_head()
    upstream.script("key-first", slow)
    async with program_in_memory(TWO, upstream) as program:
        client = MemoryClient(await program.connect())
        await client.send("POST", "/v1/messages", b'{"model": "m", "stream": true}')
        if phase == "waiting":
            await upstream.wait_for_requests(1)
        else:
            assert (await client.receive_head()).status == 200
        began = trio.current_time()
        await client.leave()
        await upstream.requests[0].left.wait()
        assert trio.current_time() - began < 1
        (line,) = await lines(program)
        accounts = (await MemoryClient(await program.connect()).get("/status/accounts")).json()
    assert (line["status"], line["terminal"]) == (499, "client_closed")
    assert isinstance(accounts, dict)
    assert [account["in_flight"] for account in accounts["accounts"]] == [0, 0]
    assert len(upstream.requests) == 1


async def test_a_named_account_is_used_or_answered_404_never_another(
    autojump_clock: object,
) -> None:
    """`x-account-name` pins; a limit of that account is its own 429."""
    upstream = ScriptedUpstream()
    upstream.script("key-second", rate_limited(retry_after=20), then=text_message("later"))
    async with program_in_memory(TWO, upstream) as program:
        unknown = await ask(program, x_account_name="third")
        assert (unknown.status, unknown.header("x-should-retry")) == (404, "false")
        assert (await ask(program, x_account_name="first")).status == 200
        limited = await ask(program, x_account_name="second")
        assert limited.status == 429
        cooling = await ask(program, x_account_name="second")
        assert (cooling.status, cooling.header("retry-after")) == (429, "20")
    assert [seen.credential for seen in upstream.requests] == ["key-first", "key-second"]
    assert all(seen.header("x-account-name") is None for seen in upstream.requests)


async def test_without_accounts_the_clients_own_credential_passes_and_nothing_is_retried(
    autojump_clock: object,
) -> None:
    """Passthrough: one attempt, the upstream's own answer, no cooldown."""
    upstream = ScriptedUpstream()
    upstream.script("mine", rate_limited(retry_after=30), overloaded(), then=text_message("hi"))
    async with program_in_memory("", upstream) as program:
        answers = [await ask(program, x_api_key="mine") for _ in range(3)]
        assert [answer.status for answer in answers] == [429, 529, 200]
        status = (await MemoryClient(await program.connect()).get("/status")).json()
    assert [seen.credential for seen in upstream.requests] == ["mine"] * 3
    assert isinstance(status, dict)
    assert (status["mode"], status["totalAccounts"]) == ("passthrough", 0)
    (account,) = status["accounts"]
    assert account["name"].startswith("client-")
    assert (account["kind"], account["state"]) == ("client", "available")
    assert account["counters"]["requests"] == 3


async def test_other_paths_go_to_the_first_account_and_are_never_repeated(
    autojump_clock: object,
) -> None:
    """Nobody knows what a repetition of an unknown request would do (rule 16)."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", server_error(500), only=None)
    async with program_in_memory(TWO, upstream) as program:
        client = MemoryClient(await program.connect())
        answer = await client.post("/v1/files", {"a": 1})
    assert answer.status == 500
    assert [seen.path for seen in upstream.requests] == ["/v1/files"]


@pytest.mark.promise("U7")
async def test_attempts_are_limited_where_that_is_configured(autojump_clock: object) -> None:
    """`max_attempts` caps all of them."""
    upstream = ScriptedUpstream()
    upstream.default(server_error(500))
    async with program_in_memory("[routing]\nmax_attempts = 1\n" + TWO, upstream) as program:
        assert (await ask(program)).status == 500
    assert len(upstream.requests) == 1


async def test_nobody_waits_for_an_attempt_that_he_may_not_make(autojump_clock: object) -> None:
    """`max_attempts` counts those after a wait as well."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", rate_limited(retry_after=1), then=text_message("back"))
    for most, status in ((1, 429), (2, 200)):
        async with program_in_memory(
            f"[routing]\nmax_attempts = {most}\n{ONE}", upstream
        ) as program:
            assert (await ask(program)).status == status
        upstream.script("key-first", rate_limited(retry_after=1), then=text_message("back"))


@pytest.mark.promise("U3")
async def test_a_break_in_the_body_of_an_ordinary_answer_is_passed_on_as_a_break(
    autojump_clock: object,
) -> None:
    """Part of a JSON body has reached the client: there is no way back."""
    upstream = ScriptedUpstream()
    body = text_message("hello").whole_body()
    broken = Answer(
        headers=(("content-type", "application/json"),),
        parts=(Send(body[:20]), Pause(2), Cut()),
        framing="chunked",
    )
    upstream.script("key-first", broken)
    async with program_in_memory(TWO, upstream) as program:
        answer = await ask(program)
    assert (answer.status, answer.complete, answer.body) == (200, False, body[:20])
    assert len(upstream.requests) == 1


async def test_a_long_stream_has_no_total_timeout(autojump_clock: object) -> None:
    """Two hours, one event a minute."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", stream([event("ping", {"type": "ping"})] * 120, pause=60))
    async with program_in_memory(ONE, upstream) as program:
        answer = await ask(program, STREAM)
        assert answer.complete
        assert answer.body.count(b"event: ping") == 120


class Milestone:
    """A step of a scripted stream that only counts how far the stream has come."""

    def __init__(self) -> None:
        self.passed = 0

    async def wait(self) -> None:
        self.passed += 1


@pytest.mark.promise("C1")
async def test_a_client_that_reads_slowly_slows_its_upstream_down(autojump_clock: object) -> None:
    """Back-pressure end to end: of ten megabytes hardly one is under way while nobody reads."""
    milestone = Milestone()
    piece = event("content_block_delta", {"type": "content_block_delta", "text": "x" * 64_000})
    steps = [step for _ in range(160) for step in (Send(piece), Wait(milestone))]
    upstream = ScriptedUpstream()
    upstream.script("key-first", whole_with(text_stream("x"), steps))
    async with program_in_memory(ONE, upstream) as program:
        client = MemoryClient(await program.connect())
        await client.send("POST", "/v1/messages", b'{"model": "m", "stream": true}')
        await trio.sleep(30)
        stalled_at = milestone.passed
        assert stalled_at * len(piece) < 1_000_000
        await trio.sleep(20)
        assert milestone.passed == stalled_at
        answer = await client.receive()
    assert answer.complete
    assert len(answer.body) == 160 * len(piece)


@pytest.mark.promise("C1")
async def test_a_client_that_stops_reading_for_a_minute_is_let_go(autojump_clock: object) -> None:
    """Its upstream ends with it, and the line says that the client left."""
    piece = event("content_block_delta", {"type": "content_block_delta", "text": "x" * 64_000})
    upstream = ScriptedUpstream()
    upstream.script("key-first", whole_with(text_stream("x"), [Send(piece)] * 160))
    async with program_in_memory(ONE, upstream) as program:
        client = MemoryClient(await program.connect())
        began = trio.current_time()
        await client.send("POST", "/v1/messages", b'{"model": "m", "stream": true}')
        await upstream.wait_for_requests(1)
        await upstream.requests[0].left.wait()
        assert 59 <= trio.current_time() - began <= 63
        (line,) = await lines(program)
    assert (line["terminal"], line["status"]) == ("client_closed", 499)


async def test_a_client_that_closes_with_the_last_byte_was_served_completely(
    autojump_clock: object,
) -> None:
    """The length tells it the end before the upstream's own end reaches us."""
    body = text_message("hello").whole_body()
    late_end = Answer(
        headers=(("content-type", "application/json"), ("content-length", str(len(body)))),
        parts=(Send(body), Pause(0.5)),
        framing="close",
    )
    upstream = ScriptedUpstream()
    upstream.script("key-first", late_end)
    async with program_in_memory(ONE, upstream) as program:
        client = MemoryClient(await program.connect())
        await client.send("POST", "/v1/messages", b'{"model": "m"}')
        answer = await client.receive_head()
        while len(answer.body) < len(body):
            await client.receive_more(answer)
        await client.leave()
        await trio.sleep(1)
        (line,) = await lines(program)
    assert (line["status"], line["terminal"], line["bytes_out"]) == (200, "complete", len(body))


async def test_when_all_fail_the_answer_names_the_account_that_gave_it(
    autojump_clock: object,
) -> None:
    """The first one's body, the first one's name, in the headers and in the log."""
    upstream = ScriptedUpstream()
    upstream.default(unauthorized())
    async with program_in_memory(TWO, upstream) as program:
        answer = await ask(program)
        assert (answer.status, answer.header("x-supervisor-account")) == (401, "first")
        assert answer.header("x-supervisor-attempts") == "2"
        (line,) = await lines(program)
    assert (line["account"], line["attempts"], line["terminal"]) == ("first", 2, "upstream_error")


async def test_a_clients_credential_that_an_upstream_quotes_is_not_shown_to_others(
    autojump_clock: object,
) -> None:
    """It has no shape that anybody would recognize; it is known because the client sent it."""
    upstream = ScriptedUpstream()
    upstream.default(unauthorized("no such key: plain-old-password"))
    async with program_in_memory("", upstream) as program:
        answer = await ask(program, x_api_key="plain-old-password")
        assert b"plain-old-password" in answer.body
        status = (await MemoryClient(await program.connect()).get("/status")).body
        assert b"no such key: ***" in status
        assert b"plain-old-password" not in status


async def test_when_everybody_is_back_within_max_wait_the_request_waits(
    autojump_clock: object,
) -> None:
    """The client sees a delay of a second instead of an error."""
    upstream = ScriptedUpstream()
    upstream.script("key-first", rate_limited(retry_after=1), then=text_message("back"))
    async with program_in_memory(ONE, upstream) as program:
        began = trio.current_time()
        answer = await ask(program)
        assert (answer.status, answer.header("x-supervisor-attempts")) == (200, "2")
        assert trio.current_time() - began == pytest.approx(1, abs=0.2)
        (line,) = await lines(program)
    queued = line["ms_queue"]
    assert isinstance(queued, float)
    assert queued >= 1000


async def test_all_waits_of_a_request_together_stay_within_max_wait(
    autojump_clock: object,
) -> None:
    """An account that is limited again and again does not hold a request for ever."""
    upstream = ScriptedUpstream()
    upstream.default(rate_limited(retry_after=1))
    async with program_in_memory(ONE, upstream) as program:
        began = trio.current_time()
        assert (await ask(program)).status == 429
        assert trio.current_time() - began <= 2.2
    assert len(upstream.requests) == 3


@pytest.mark.parametrize(
    ("config", "headers"),
    [("[routing]\nmax_wait = 0\n" + ONE, {}), (ONE, {"x_account_name": "first"})],
)
async def test_nobody_waits_where_that_is_turned_off_or_an_account_is_named(
    config: str, headers: dict[str, str], autojump_clock: object
) -> None:
    """The upstream's 429 comes at once."""
    upstream = ScriptedUpstream()
    upstream.default(rate_limited(retry_after=1))
    async with program_in_memory(config, upstream) as program:
        began = trio.current_time()
        assert (await ask(program, **headers)).status == 429
        assert trio.current_time() - began < 0.5
    assert len(upstream.requests) == 1


QUOTA = unified_headers({"5h": Window(utilization=0.4, resets_at=1_790_009_000)})


async def quotas(program: RunningProgram) -> dict[str, dict[str, dict[str, object]]]:
    """What `/status` shows of each account's quota."""
    status = (await MemoryClient(await program.connect()).get("/status")).json()
    assert isinstance(status, dict)
    return {account["name"]: account["quota"] for account in status["accounts"]}


@pytest.mark.parametrize(
    "answer",
    [
        text_message("hello"),
        text_stream("hello"),
        error(400, "invalid_request_error", "no"),
        rate_limited(retry_after=30),
        unauthorized(),
        server_error(500),
        overloaded(),
        stream_with_early_error("rate_limit_error", "slow down"),
        text_stream("never seen").interrupted(0),
        text_stream("never seen").interrupted(1),
        text_stream("half").interrupted(4),
    ],
)
async def test_every_answer_whatever_it_is_brings_its_quota(
    answer: Answer, autojump_clock: object
) -> None:
    upstream = ScriptedUpstream()
    upstream.script("key-first", answer.with_headers(QUOTA), then=error(400))
    async with program_in_memory(TWO, upstream) as program:
        await ask(program, STREAM)
        found = await quotas(program)
    assert found["second"] == {}
    assert found["first"]["5h"] == {
        "utilization": 0.4,
        "status": "allowed",
        "resets_at": "2026-09-21T16:43:20Z",
        "read_at": found["first"]["5h"]["read_at"],
        "source": "response",
    }


async def test_an_error_body_that_breaks_off_does_not_take_the_quota_along(
    autojump_clock: object,
) -> None:
    upstream = ScriptedUpstream()
    upstream.script("key-first", rate_limited().with_headers(QUOTA).interrupted(0))
    async with program_in_memory(TWO, upstream) as program:
        assert (await ask(program)).status == 200
        assert (await quotas(program))["first"]["5h"]["utilization"] == 0.4


async def test_an_api_keys_limits_are_shown_with_what_remains(autojump_clock: object) -> None:
    upstream = ScriptedUpstream()
    limit = KeyLimit(limit=50, remaining=10, resets_at="2026-09-21T16:43:20Z")
    answer = text_message("hello").with_headers(key_limit_headers({"requests": limit}))
    upstream.script("key-first", answer)
    async with program_in_memory(ONE, upstream) as program:
        assert (await ask(program)).status == 200
        window = (await quotas(program))["first"]["requests"]
    assert (window["utilization"], window["limit"], window["remaining"]) == (0.8, 50, 10)


async def test_a_client_with_its_own_credential_sees_its_quota_too(autojump_clock: object) -> None:
    """Nobody is benched there; but whose window is how full is worth knowing."""
    upstream = ScriptedUpstream()
    upstream.default(rate_limited(retry_after=30).with_headers(QUOTA))
    async with program_in_memory("", upstream) as program:
        assert (await ask(program, x_api_key="mine")).status == 429
        await trio.sleep(1)
        ((name, quota),) = (await quotas(program)).items()
        await trio.sleep(30)
        files = dict(program.parts.disk.files)  # type: ignore[attr-defined]
    assert name.startswith("client-")
    assert quota["5h"]["utilization"] == 0.4
    assert not [path for path in files if path.name == "quota.json"], (
        "its name is another next time"
    )


async def test_a_window_that_has_been_reset_meanwhile_is_unused(autojump_clock: object) -> None:
    upstream = ScriptedUpstream()
    full = unified_headers({"5h": Window(utilization=1.0, resets_at=int(EPOCH) + 600)})
    upstream.script("key-first", text_message("hello").with_headers(full))
    async with program_in_memory(ONE, upstream) as program:
        assert (await ask(program)).status == 200
        before = (await quotas(program))["first"]["5h"]
        await trio.sleep(601)
        after = (await quotas(program))["first"]["5h"]
    assert (before["utilization"], after["utilization"]) == (1.0, 0.0)
    assert after["read_at"] == before["read_at"]
