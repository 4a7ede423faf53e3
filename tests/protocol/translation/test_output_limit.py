"""What providers say of how long an answer may be, in the words that their users reported."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.translation.output_limit import LEAST_ROOM, OutputLimit, output_limit

OF_THE_MODEL = {
    "the valid range of max_tokens is [1, 1]": 1,
    "max_tokens is too large: 32000. This model supports at most 16384 completion tokens, whereas "
    "you provided 32000.": 16_384,
    "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]": 8_192,
    "<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 32768]": 32_768,
    "`max_completion_tokens` must be less than or equal to `16384`, the maximum value for "
    "`max_completion_tokens` is less than the `context_window` for this model": 16_384,
    "max_completion_tokens must be less than or equal to 40960, the maximum value for "
    "max_completion_tokens is\nless than the context_window for this model": 40_960,
    "max_tokens for `llama-3.1-8b-instant` must be less than or equal to 8000": 8_000,
    "The parameter `max_completion_tokens` specified in the request are not valid: integer above "
    "maximum value, expected a value <= 12288, but got 32000 instead. Request id: 02175": 12_288,
    "Invalid 'max_output_tokens': integer above maximum value. Expected a value <= 16384, but got "
    "32000 instead.": 16_384,
    "Unable to submit request because it has a maxOutputTokens value of 655360 but the supported "
    "range is from 1 (inclusive) to 8193 (exclusive). Update the value and try again.": 8_192,
    "max_tokens: 128000 > 64000, which is the maximum allowed number of output tokens for x": 64_000,
}

OF_THE_CONVERSATION = {
    "'max_tokens' or 'max_completion_tokens' is too large: 64000. This model's maximum context "
    "length is 64001 tokens and your request has 24235 input tokens (64000 > 64001 - 24235).": (
        64_001 - 24_235
    ),
    "This model's maximum context length is 131072 tokens. However, you requested 151134 tokens "
    "(22942 in the messages, 128192 in the completion). Please reduce the length of the messages "
    "or completion.": 131_072 - 22_942,
    "This model's maximum context length is 16384 tokens. However, you requested 16500 tokens "
    "(3000 in the messages, 1500 in the functions, and 12000 in the completion).": 16_384 - 4_500,
    "This endpoint's maximum context length is 131072 tokens. However, you requested about 138956 "
    "tokens (7884 of text input, 131072 in the output). Please reduce the length of either one, "
    'or use the "middle-out" transform to compress your prompt automatically.': 131_072 - 7_884,
    "Requested token count exceeds the model's maximum context length of 32768 tokens. You "
    "requested a total of 40961 tokens: 8961 tokens from the input messages and 32000 tokens for "
    "the completion.": 32_768 - 8_961,
}

ABOUT_SOMETHING_ELSE = [
    "",
    "max_tokens must be less than or equal to 8,192",  # nobody is known to write so; 8 it is not
    "max_tokens: 128000 > 64.000, which is the maximum allowed number of output tokens",
    "messages.1.role: unknown variant 'system'",
    "max_tokens must be at least 1, got -1",
    (
        "This model's maximum context length is 4097 tokens. However, your messages resulted in 6988 "
        "tokens. Please reduce the length of the messages."
    ),
    (
        "This endpoint's maximum context length is 16384 tokens. However, you requested about 94307 "
        "tokens (94307 of text input)."
    ),
    "request (24071 tokens) exceeds the available context size (8192 tokens), try increasing it",
    "temperature must be less than or equal to 2",
    "max_tokens is fine, but temperature must be less than or equal to 2",
    "No max_tokens was given. n must be less than or equal to 8",
    "the valid range of max_tokens is [1, 0]",
]

NO_ROOM = [
    (
        "This model's maximum context length is 20000 tokens and your request has 16614 input tokens "
        "(64000 > 20000 - 16614)."
    ),
    (
        "This model's maximum context length is 131072 tokens. However, you requested 131329 tokens "
        "(128137 in the messages, 3192 in the completion)."
    ),
]


@pytest.mark.parametrize("message", OF_THE_MODEL)
def test_a_models_own_limit_is_understood_and_lasts(message: str) -> None:
    assert output_limit(message) == OutputLimit(OF_THE_MODEL[message], lasting=True)


@pytest.mark.parametrize("message", OF_THE_CONVERSATION)
def test_what_is_left_of_a_context_counts_for_this_conversation_and_not_to_the_last_token(
    message: str,
) -> None:
    found = output_limit(message)
    assert found is not None
    assert not found.lasting
    assert found.tokens == OF_THE_CONVERSATION[message] - 256


@pytest.mark.parametrize("message", ABOUT_SOMETHING_ELSE)
def test_other_refusals_are_left_to_the_client(message: str) -> None:
    assert output_limit(message) is None


@pytest.mark.parametrize("message", NO_ROOM)
def test_a_conversation_that_fills_its_context_is_not_squeezed_in_but_refused(message: str) -> None:
    """The client compacts it then; an answer of a few words would not help it."""
    assert output_limit(message) is None


def test_there_is_room_from_four_thousand_tokens_on() -> None:
    words = "maximum context length is {} tokens and your request has 1000 input tokens"
    assert LEAST_ROOM == 4_096  # what Claude Code itself takes for the least
    least = 1_000 + 256 + LEAST_ROOM
    assert output_limit(words.format(least)) == OutputLimit(LEAST_ROOM, lasting=False)
    assert output_limit(words.format(least - 1)) is None


@given(st.text(max_size=300))
def test_no_words_make_it_raise(message: str) -> None:
    output_limit(message)


@given(
    st.sampled_from([*OF_THE_MODEL, *OF_THE_CONVERSATION]),
    st.text(alphabet="max_tokens 0123456789[](),.<=>:`'", max_size=4_000),
)
def test_long_words_before_it_take_no_time(message: str, noise: str) -> None:
    """Whoever writes such a refusal is a stranger: nothing in here may run away."""
    assert output_limit(f"{noise}\n{message}") is not None
