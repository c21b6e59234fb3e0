"""A node in a process of its own, so that what its peers make it keep in memory can be measured."""

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

from node.publisher.blockstore import BlockStore
from node.publisher.p2p.embedded import EmbeddedNode, PeerSettings


def say(document):
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


async def main(directory):
    store = BlockStore(directory / "store", floor_bytes=0)
    settings = PeerSettings(("/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"))
    async with EmbeddedNode(store, directory / "peer.key", settings) as node:
        say(node.addresses())
        while await asyncio.to_thread(sys.stdin.readline):
            say(asdict(await node.stats()) | {"restarts": node.restarts})


if __name__ == "__main__":
    # Its log goes where it does not stand between the answers.
    import structlog

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(Path(sys.argv[1])))
