"""What endpoints say when they refuse, in the words and codes that clients and services use."""

import pytest

from node.chain.jsonrpc import RpcError
from node.chain.refusals import Refusal, kind_of

SAID = {
    Refusal.RANGE: [
        (-32005, "query returned more than 10000 results. Try with this block range [0x1, 0x2]."),
        (-32602, "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range"),
        (-32600, "Under the Free tier plan, you can make eth_getLogs requests with up to a 10 block range."),
        (-32614, "eth_getLogs is limited to a 10,000 range"),
        (-32000, "exceed maximum block range: 5000"),
        (-32701, "exceed maximum block range: 50000"),
        (-32600, "Block range is too large"),
        (-32047, "Invalid eth_getLogs request. 'fromBlock'-'toBlock' range too large. Max range: 800"),
        (-32602, "block range is too wide (maximum 1024)"),
        (35, "ranges over 10000 blocks are not supported on freetier"),
        (-32000, "logs matched by query exceeds limit of 10000"),
        (-32602, "query exceeds max results 20000, retry with the range 1-2"),
        (-32602, "query exceeds max block range 100000"),
        (-32000, "requested too many blocks from 0 to 5000, maximum is set to 2048"),
        (-32005, "Requested range exceeds maximum RPC range limit"),
        (-32000, "response size should not greater than 10485760 bytes"),
        (-32008, "Response size is larger than 150MB limit."),
        (-32000, "query timeout exceeded"),
        (-32602, "Block range limit exceeded. Please narrow your query."),
        (-32000, "too many logs in the answer"),
    ],
    Refusal.RATE_LIMITED: [
        (-32005, "daily request count exceeded, request rate limited"),
        (429, "Your app has exceeded its compute units per second capacity."),
        (-32005, "limit exceeded"),
        (-32029, "Too Many Requests"),
        (-32000, "rate limit reached, slow down"),
        (-32097, "You have reached your monthly quota"),
        (-32007, "50/second request limit reached - reduce calls per second or upgrade your account"),
    ],
    Refusal.UNKNOWN_BLOCK: [
        (-32000, "header not found"),
        (-32000, "header for hash not found"),
        (-32000, "unknown block"),
        (-32001, "Unknown block"),
        (-32602, "BlockOutOfRangeError: block height is 5 but requested was 9"),
        (-32000, "block range extends beyond current head block"),
        (-32001, "resource not found"),
        (-32000, "Block with such an ID is not found: block not found"),
    ],
    Refusal.STATE_GONE: [
        (-32000, "missing trie node 5aab (path ) state 0x12 is not available"),
        (-32000, "required historical state unavailable (reexec=128)"),
        (-32000, "state at block #5 is pruned"),
        (-32000, "archive node required"),
    ],
    Refusal.UNSUPPORTED: [
        (-32601, "the method eth_getBlockReceipts does not exist/is not available"),
        (-32601, "Method not found"),
        (-32004, "This request method is not supported"),
    ],
    Refusal.INTERNAL: [
        (-32603, "Internal error"),
        (-32000, "context deadline exceeded"),
        (-32002, "request timed out"),
        (-32000, "Service temporarily unavailable"),
        (-32000, "no healthy upstream"),
    ],
    Refusal.EXECUTED: [
        (3, "execution reverted: Only the provider"),
        (-32000, "execution reverted"),
        (-32603, "VM Exception while processing transaction: revert deal not found"),
        (-32015, "Reverted 0x08c379a0"),
        (3, "execution reverted: rate limit, header not found, block range too large"),
    ],
    Refusal.ALREADY_KNOWN: [
        (-32000, "already known"),
        (-32010, "Transaction with the same hash was already imported."),
        (-32000, "known transaction: 12ab"),
        (-32000, "AlreadyKnown"),
    ],
    Refusal.OTHER: [
        (-32000, "nonce too low: next nonce 5, tx nonce 4"),
        (-32603, "nonce too low"),
        (-32000, "replacement transaction underpriced"),
        (-32000, "insufficient funds for gas * price + value"),
        (-32602, "invalid argument 0: hex string has length 38, want 40 for common.Address"),
        (-32000, "max fee per gas less than block base fee"),
        (0, "no"),
    ],
}


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [(kind, code, message) for kind, said in SAID.items() for code, message in said],
)
def test_a_refusal_is_known_by_its_words_or_code(kind: Refusal, code: int, message: str):
    assert kind_of(RpcError(code, message)) is kind
