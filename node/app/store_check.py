"""What ``sdv-node doctor`` says of the folder of published results: is it there, and does it keep a block?"""

import asyncio
import os
import time
from functools import partial
from pathlib import Path

import aiohttp

from node.app.checks import Check, problem
from node.app.control import ask_running_node
from node.app.gpu_checks import node_process
from node.app.housekeeping import STORE
from node.app.owner_check import stranger_here
from node.app.port_checks import http_address
from node.config import Config
from node.errors import NodeError
from node.publisher.blockstore import FOLDERS, BlockStore
from node.publisher.cid import RAW, hash_block

TRY_S = 20.0
OK = 200
REMEDY = "mount its disk again or put the folder back: results cannot be served and nothing new is taken"
DAMAGE_REMEDY = "check the disk, and put the blocks or the job's result folder back from a backup"


async def check_store(config: Config) -> list[Check]:
    """Is the store still there? A running node is asked; nothing is said where no node ever ran."""
    root = config.node.directory / "ipfs"
    try:
        answer = await ask_running_node(config.node.directory, STORE)
    except NodeError:
        answer = None  # of another version or user, or just ending: what can be seen is looked at
    if answer is not None and answer.get("problem") is not None:
        return [problem("store", str(answer["problem"]), REMEDY)]
    if answer is not None and answer.get("damage") is not None:
        return [problem("store", str(answer["damage"]), DAMAGE_REMEDY)]
    # A node makes both at its start.
    if not (config.node.directory / "jobs").is_dir():
        return []
    lacking = [name for name in FOLDERS if not (root / name).is_dir()]
    if lacking:
        return [problem("store", f"the block store {root} is gone, it has no {', '.join(lacking)}", REMEDY)]
    if stranger_here(config.node.directory) is not None:
        return [Check("store", "ok", f"published results are in {root}")]
    try:
        return [await asyncio.wait_for(_tried(config, root), TRY_S)]
    except TimeoutError:
        return [problem("store", f"{root}: a block was not read back within {TRY_S:g} s", DAMAGE_REMEDY)]
    except (NodeError, aiohttp.ClientError) as error:
        return [problem("store", f"a block was not read back: {error}", DAMAGE_REMEDY)]


async def _tried(config: Config, root: Path) -> Check:
    """Add a block, read it back and remove it; through the gateway of the node, if one runs."""
    began = time.monotonic()
    block = os.urandom(64)
    name = hash_block(RAW, block)
    store = await asyncio.to_thread(partial(BlockStore, root, floor_bytes=0, lock_wait_s=TRY_S))

    def put() -> None:
        with store.writer() as writer:
            writer.put(name.digest, block)

    def remove() -> None:
        with store.exclusive():
            store.discard(name.digest)

    await asyncio.to_thread(put)
    try:
        if node_process(config.node.directory) is None:
            await asyncio.to_thread(store.get, name)
            way = ""
        else:
            url = f"{http_address(config.http)}/ipfs/{name}?format=raw"
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                if answer.status != OK or await answer.read() != block:
                    raise NodeError(f"the gateway of the node that runs answers with status {answer.status}")
            way = " through the gateway"
    finally:
        await asyncio.to_thread(remove)
    took = time.monotonic() - began
    return Check("store", "ok", f"{root}: a block was added and read back{way} in {took:.2g} s")
