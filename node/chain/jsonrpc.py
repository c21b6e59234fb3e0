"""JSON-RPC 2.0 messages, and what can be wrong with an answer, whatever carried it.

Facts: the JSON-RPC 2.0 specification, sections 4 and 5. What a refusal means is sorted in ``refusals``.
"""

import json
from collections.abc import Sequence
from typing import Any

from node.chain.hexadecimal import BadReply
from node.errors import Retryable, Unreachable
from node.job.foreign_json import read_json

MAX_REPLY_BYTES = 32 * 1024 * 1024
"""A reply larger than this is cut off: ask for fewer blocks instead. Read, it takes some five times as much
memory; a block of 30 million gas, with every byte of its transactions or logs, takes half of it."""

_MAX_ERROR_BYTES = 4096
_HARMLESS_BRACKETS = 20_000
"""So deep the parser gets on a stack of 8 MB with room to spare; some 60,000 end the process."""


class RpcError(Retryable):
    """The endpoint understood the request and refused it; ``code``, ``message``, ``data`` as it sent them."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(f"the RPC endpoint refused: {message} (code {code})")
        self.code = code
        self.message = message
        self.data = data


class TimedOut(Unreachable):
    """Connected or connecting, and no answer within the time limit."""


class RateLimited(Unreachable):
    """The endpoint asks to be left alone; ``retry_after_s`` is for how long, None if it did not say."""

    def __init__(self, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class EndpointLost(Unreachable):
    """The endpoint that all of some reads went to failed, and another one is there: begin them again."""


class ReplyTooLarge(Unreachable):
    """The answer is above MAX_REPLY_BYTES: the same question ends the same way everywhere."""


def request_text(number: int, method: str, params: Sequence[object]) -> str:
    """Return the text of one request."""
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)})


def parse(raw: bytes | str, *, name: str, method: str) -> dict[str, Any]:
    """Return the answer object in ``raw``; raises BadReply, naming the endpoint and the method asked."""
    data = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    try:
        # Depth is checked only where there are brackets enough for it: that takes longer than the reading.
        flat = data.count(b"[") + data.count(b"{") <= _HARMLESS_BRACKETS
        response: Any = json.loads(data) if flat else read_json(data)
    except (ValueError, RecursionError) as error:
        raise BadReply(f"RPC endpoint {name} answered {method} with something that is not JSON") from error
    if not isinstance(response, dict):
        raise BadReply(f"RPC endpoint {name} answered {method} with no JSON-RPC object")
    return response


def result_of(response: dict[str, Any], number: int, *, name: str, method: str) -> Any:
    """Return the ``result`` of the answer to request ``number``.

    Raises RpcError when the endpoint refuses, and BadReply when this is not the answer to that request.
    """
    failure = response.get("error")
    # An endpoint that could not read the request's id answers with null (section 5.1).
    answers = response.get("id") == number or (failure is not None and response.get("id") is None)
    if not answers:
        raise BadReply(f"RPC endpoint {name} answered {method} with the answer to another request")
    if failure is not None:
        raise _rpc_error(failure)
    if "result" not in response:
        raise BadReply(f"RPC endpoint {name} answered {method} without a result")
    return response["result"]


def _rpc_error(failure: Any) -> RpcError:
    if not isinstance(failure, dict):
        return RpcError(0, str(failure)[:_MAX_ERROR_BYTES])
    code = failure.get("code")
    message = str(failure.get("message", "no message"))[:_MAX_ERROR_BYTES]
    return RpcError(code if isinstance(code, int) else 0, message, failure.get("data"))
