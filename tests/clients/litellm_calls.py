"""Run by the Python that has LiteLLM: calls from stdin as JSON, what each gave to stdout.

Nothing of this program is imported here: that Python knows LiteLLM alone.
"""

import json
import sys

import litellm


def done(call: dict) -> dict:
    stream = call.get("stream", False)
    try:
        answer = litellm.completion(timeout=40, num_retries=0, **call)
        chunks = 0
        if stream:
            pieces = list(answer)
            chunks = len(pieces)
            answer = litellm.stream_chunk_builder(pieces, messages=call["messages"])
        return {"answer": json.loads(answer.model_dump_json()), "chunks": chunks}
    except Exception as error:
        status = getattr(error, "status_code", None)
        return {"error": type(error).__name__, "status": status, "message": str(error)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps([done(call) for call in json.load(sys.stdin)]))
