"""What an endpoint's refusal means: the one place that reads codes and words of JSON-RPC errors.

Clients and services word the same refusal differently and few agree on codes, so both are read: geth, Nitro,
Erigon, Reth, Nethermind, Besu, Anvil, and the error pages of the larger services. The pool of endpoints and
the log reader decide what to do about each kind; why a call reverted is read in ``reverts``, and what became
of a broadcast in ``broadcast``.
"""

import re
from enum import StrEnum

from node.chain.jsonrpc import RpcError


class Refusal(StrEnum):
    """A kind of refusal."""

    EXECUTED = "executed"
    """The call was executed and this is its outcome: the same everywhere."""

    RATE_LIMITED = "rate_limited"
    """Too many requests, or a plan's quota is used up."""

    RANGE = "range"
    """Too many blocks or too much to answer: ask for less."""

    UNKNOWN_BLOCK = "unknown_block"
    """This endpoint does not have the block, yet or any more: another one may."""

    STATE_GONE = "state_gone"
    """The block is known, its state is pruned: an archive endpoint may have it."""

    UNSUPPORTED = "unsupported"
    """This endpoint does not offer the method."""

    INTERNAL = "internal"
    """The endpoint itself failed."""

    ALREADY_KNOWN = "already_known"
    """The transaction is in this endpoint's pool already."""

    OTHER = "other"
    """Anything else, taken as an answer about the request, such as invalid parameters or a nonce too low."""


def _words(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives))


# Order matters: -32005 stands for a rate limit with some and for too many results with others, and a message
# about too many blocks often names the plan that would allow more.
_MESSAGES = (
    (Refusal.EXECUTED, _words(r"revert", r"invalid opcode", r"out of gas", r"stack (under|over)flow")),
    (
        Refusal.ALREADY_KNOWN,
        _words(r"already ?known", r"already imported", r"known transaction", r"already in (the )?(mem)?pool"),
    ),
    (
        Refusal.OTHER,
        _words(r"nonce", r"underpriced", r"insufficient", r"(fee|gas price|tip) .{0,30}(low|less|below)"),
    ),
    (
        Refusal.RANGE,
        _words(
            r"(block )?range (is |was )?(too (large|wide|big)|limit|exceed)",
            r"range .{0,40}too (large|wide|big)",
            r"(exceed|exceeds|exceeded|greater than|over|above) .{0,30}\b(block )?range",
            r"max(imum)?( block)? range",
            r"limited to (a )?[\d,k ]+ ?(block|range)",
            r"block range limit",
            r"up to a \w+ block range",
            r"ranges over \d+ blocks",
            r"(more|greater) than [\d,]+ (results|logs|blocks|records)",
            r"exceed(s|ed|ing)? (the )?(max(imum)?|limit)( of)? ?(\d+|results|logs?|number of)",
            r"exceeds? max results",
            r"logs matched by query exceeds",
            r"too many (blocks|logs|results)",
            r"(log )?response size (exceeded|should not|is (too large|larger))",
            r"(response|result|payload|content|reply|output)( size| length)? (is )?too (large|big|long)",
            r"response size .{0,30}(larger|greater|exceed)",
            r"smaller (block )?range",
            r"specify (an address|a smaller)",
            r"query timeout exceeded",
            r"query (has )?timed out",
            r"exceed(s|ed)? max(imum)? topics",
        ),
    ),
    (
        Refusal.RATE_LIMITED,
        _words(
            r"rate.?limit",
            r"too many (requests|connections|concurrent)",
            r"request (count|limit|rate)",
            r"requests? per (second|minute|day)",
            r"compute units",
            r"capacity (exceeded|limit)",
            r"(daily|monthly|usage|quota|credit|throughput|concurren)\w* .{0,30}(exceed|limit|reached|used)",
            r"(exceed|reach)\w* .{0,40}(quota|credits|usage|throughput|plan|capacity)",
            r"limit exceeded$",
            r"slow down",
            r"try again (in|later)",
        ),
    ),
    (
        Refusal.STATE_GONE,
        _words(
            r"missing trie node",
            r"state .{0,60}(is )?(not available|unavailable|pruned|missing)",
            r"pruned",
            r"historical state",
            r"archive (node|access|data|request)",
            r"required historical",
            r"old data not available",
            r"distance to target block exceeds",
        ),
    ),
    (
        Refusal.UNKNOWN_BLOCK,
        _words(
            r"header (for hash )?not found",
            r"(unknown|unfinalized|missing) block",
            r"block .{0,80}not (found|available|exist|imported)",
            r"could not (find|locate) block",
            r"block(number)?s? ?(is )?(out ?of ?range|outofrange|too high)",
            r"beyond current head",
            r"(greater|higher|newer) than (the )?(latest|current|head)",
            r"not yet (available|synced|indexed)",
            r"header not available",
            r"failed to get (block|header)",
            r"syncing",
        ),
    ),
    (
        Refusal.UNSUPPORTED,
        _words(
            r"method .{0,60}not (found|supported|available|allowed|exist|enabled|whitelisted|implemented)",
            r"(unsupported|unknown) method",
            r"not (supported|implemented)",
        ),
    ),
    (
        Refusal.INTERNAL,
        _words(
            r"internal (server )?error",
            r"\b(timed out|timeout)\b",
            r"context (deadline exceeded|canceled|cancelled)",
            r"service unavailable",
            r"temporar(y|ily)",
            r"bad gateway",
            r"upstream",
            r"backend",
            r"no (healthy|available) (node|upstream|backend|server)",
            r"connection (refused|reset|closed)",
        ),
    ),
)
_CODES = {
    3: Refusal.EXECUTED,
    429: Refusal.RATE_LIMITED,
    -32005: Refusal.RATE_LIMITED,
    -32029: Refusal.RATE_LIMITED,
    -32097: Refusal.RATE_LIMITED,
    -32001: Refusal.UNKNOWN_BLOCK,
    -32601: Refusal.UNSUPPORTED,
    -32004: Refusal.UNSUPPORTED,
    -32603: Refusal.INTERNAL,
    -32002: Refusal.INTERNAL,
}
_RANGE_CODES = frozenset({-32008, -32614, -32701, -32047})


def kind_of(error: RpcError) -> Refusal:
    """Return what kind of refusal this is."""
    if error.code == 3:
        return Refusal.EXECUTED
    if error.code in _RANGE_CODES:
        return Refusal.RANGE
    said = error.message.lower()
    for kind, words in _MESSAGES:
        if words.search(said):
            return kind
    return _CODES.get(error.code, Refusal.OTHER)
