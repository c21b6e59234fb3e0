"""The names that every room shares for ids, hashes, money and addresses."""

from typing import NewType

JobId = NewType("JobId", str)
"""A job of ours: ``j<number>``, or ``h<number>`` if hired directly; ``JobAdded`` gave the number."""

DealId = NewType("DealId", str)
"""A deal's id on chain: any non-empty string, ours are at most 31 bytes."""

Cid = NewType("Cid", str)
"""A CIDv1 in base32, as a string."""

Address = NewType("Address", str)
"""An account or contract: ``0x`` and 40 lower-case hex digits. Checksummed only where people read it."""

TxHash = NewType("TxHash", str)
"""``0x`` and 64 lower-case hex digits."""

BlockHash = NewType("BlockHash", str)
"""``0x`` and 64 lower-case hex digits."""

BlockNumber = NewType("BlockNumber", int)
Wei = NewType("Wei", int)
"""The smallest unit of the gas token or of the payment token."""

TOKEN_DECIMALS = 18
"""Of both tokens."""

OWN_STORE = "node"
"""The place that a result is at first: pinned in the node's own block store, read over its HTTP port."""

GpuUuid = NewType("GpuUuid", str)
