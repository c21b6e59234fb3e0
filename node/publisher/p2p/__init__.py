"""The embedded IPFS node: bitswap over py-libp2p, in a trio thread of its own.

libp2p and trio are imported here and nowhere else; asyncio sees ``embedded`` only.
"""

from node.publisher.p2p.left_out import leave_out

# Here, because it must come before whatever of this package imports libp2p first.
leave_out()
