"""A small file from any gateway: one raw block, bounded in size and time, checked against its CID."""

import hashlib

import aiohttp

from node.destinations import Reach
from node.errors import Unreachable
from node.publisher.cid import RAW, parse_cid
from node.publisher.errors import BadContent, InvalidCid
from node.publisher.gateway_request import RAW_TYPE

CONNECT_S = 5.0
TOTAL_S = 6.0


async def fetch_file(gateway_url: str, cid: str, limit_bytes: int, reach: Reach) -> bytes:
    """Return a file that is stored as one raw block of at most ``limit_bytes``.

    Follows no redirect and goes only within reach. Raises InvalidCid, Unreachable if the gateway has it not
    or does not answer, and BadContent if it sends something else or more.
    """
    block_id = parse_cid(cid)
    if block_id.codec != RAW:
        raise InvalidCid(f"{block_id} is no small file: expected a CIDv1 with the codec raw")
    timeout = aiohttp.ClientTimeout(total=TOTAL_S, sock_connect=CONNECT_S)
    headers = {"Accept": RAW_TYPE, "Accept-Encoding": "identity"}
    address = f"{gateway_url}/ipfs/{block_id}?format=raw"
    data = bytearray()
    try:
        async with (
            aiohttp.ClientSession(
                connector=reach.connector(),
                timeout=timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            ) as session,
            session.get(address, headers=headers, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise Unreachable(f"the gateway answers with status {answer.status}")
            async for piece in answer.content.iter_any():
                data += piece
                if len(data) > limit_bytes:
                    raise BadContent(f"more than {limit_bytes} bytes arrived: that is the limit")
    except aiohttp.ClientConnectorError as error:
        raise Unreachable(f"the gateway did not answer: {error.strerror or error.os_error}") from error
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise Unreachable(f"the gateway did not answer ({type(error).__name__})") from error
    if hashlib.sha256(data).digest() != block_id.digest:
        raise BadContent("what arrived does not have the CID that is recorded")
    return bytes(data)
