"""An endpoint whose contracts answer whatever a test puts there."""

from collections.abc import Sequence
from typing import Any

from node.chain.interface import Function


class ScriptedViews:
    """Answers ``eth_call`` by selector, all else by method name. ``asked`` lists the blocks read at."""

    def __init__(self) -> None:
        self.outputs: dict[bytes, bytes] = {}
        self.results: dict[str, Any] = {}
        self.asked: list[str] = []

    def answers(self, function: Function, output: bytes) -> None:
        self.outputs[function.selector] = output

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        if method != "eth_call":
            return self.results[method]
        request, block = params
        self.asked.append(block)
        return "0x" + self.outputs[bytes.fromhex(request["data"][2:10])].hex()
