"""Attacks on a running node's HTTP port: every route of its own document, asked by those who may not."""

import asyncio
import http.client
import json
import math
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from node.web.token_file import FILE_NAME, TokenFile
from tests.chaos.harness.arena import Arena
from tests.chaos.harness.crowd import Crowd
from tests.chaos.harness.kills import attended

SLOW_SOCKETS = 500
ASKED = 200
PAUSE_S = 0.02
MAX_ANSWER_BYTES = 1 << 20
BIG = b" " * 10_000_000
VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND")
ESCAPES = (
    "/static/..%2f..%2fhttp-token",
    "/static/../../http-token",
    "/static/%2e%2e/%2e%2e/http-token",
    "/api/v1/jobs/..%2fjobs",
    "/api/v1/jobs/../jobs",
    "//api/v1/jobs",
    "/api/v1//jobs",
    "/API/v1/jobs",
    "/api/v1/jobs/",
    "/api/v1/jobs%00",
    "/api/v1/jobs%3flimit=1",
    "/api/v1/jobs;x=1",
    "/./metrics",
    "/ipfs/../metrics",
    "/ipfs/..%2fapi%2fv1%2fjobs",
    "/livez/../metrics",
    "/metrics#",
)
"""What a path could be written as to slip past a rule about paths; ``{}`` is none of the routes' own."""


@dataclass
class Attacked:
    """What was asked, what should not have been answered, and how long the operator waited meanwhile."""

    asked: int = 0
    broken: list[str] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)
    calm_s: list[float] = field(default_factory=list)
    """The same before the attack, which tells how busy the machine is anyway."""


def p99_ms(waited_s: list[float]) -> float:
    """Return what 99 % of these do not exceed, in milliseconds; 0 if there are none."""
    ordered = sorted(waited_s)
    return 1000 * ordered[math.ceil(0.99 * len(ordered)) - 1] if ordered else 0.0


async def attacked_node(arena: Arena, seed: int) -> Attacked:
    """T16: a node that trusts the token alone and has earned with a job, attacked and then asked again."""
    await arena.rewind()
    provider = arena.provider(worker={"profile": "fake:0"}, http={"local_user": "token"})
    crowd = Crowd(arena)
    async with attended(arena, crowd, provider):
        await provider.start()
        await crowd.post([f"a prompt that strangers do not read, {seed}"])
        await provider.rest("PAID", jobs=1)
        token_file = provider.data / FILE_NAME
        old = token_file.read_text().strip()
        TokenFile(token_file).renew()
        found = await attack(provider.url, token_file, old)
        if old in provider.log.read_text():
            found.broken.append("T16: the log tells a token")
    return found


async def raw(url: str, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Return the whole answer to a request that is sent as it is written, without a client's tidying up."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    sent = {"Host": parts.netloc, "Connection": "close"} | headers
    if body or method in {"POST", "PUT", "PATCH"}:
        sent |= {"Content-Length": str(len(body)), "Content-Type": "application/json"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    try:
        writer.write(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        async with asyncio.timeout(30):
            answer = b""
            while len(answer) < MAX_ANSWER_BYTES and (piece := await reader.read(1 << 16)):
                answer += piece
            return answer
    except OSError:
        return b""  # refused before it was read to the end
    finally:
        writer.close()


def slow_sockets(url: str, count: int) -> list[socket.socket]:
    """Open connections that have begun a request and do not go on."""
    parts = urlsplit(url)
    found = []
    for _ in range(count):
        one = socket.create_connection((parts.hostname or "", parts.port or 80), timeout=30)
        one.sendall(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nX-Slow:")
        found.append(one)
    return found


async def attack(url: str, token_file: Path, old_token: str, *, slow: int = SLOW_SOCKETS) -> Attacked:
    """Attack a node that trusts the token alone, while its operator goes on asking with it.

    ``old_token`` was the token and is not any more; ``slow`` sockets hold unfinished requests meanwhile.
    """
    token = token_file.read_text().strip()
    document, secrets = await _known(url, token)
    found = Attacked()
    await asyncio.to_thread(_ask_on, url, token, found, found.calm_s)
    sockets = await asyncio.to_thread(slow_sockets, url, slow)
    try:
        asking = asyncio.create_task(asyncio.to_thread(_ask_on, url, token, found, found.waited_s))
        for path, methods in document["paths"].items():
            for method in methods:
                await _attack_one(url, path, method.upper(), old_token, secrets, found)
        for target in ESCAPES:
            await _expect_nothing(url, "GET", target, {}, secrets, found)
        await asking
    finally:
        for one in sockets:
            one.close()
    status = json.loads(await _body(url, "/api/v1/status", token))
    if status.get("draining"):
        found.broken.append("T16: an order of a stranger was obeyed: the node drains")
    return found


async def _attack_one(
    url: str, path: str, method: str, old: str, secrets: list[bytes], found: Attacked
) -> None:
    target = path.replace("{job_id}", "j1").replace("{name}", "main.js").replace("{cid}", "bafkqaaa")
    target = target.replace("{path}", "outputs/still_00001_.png")
    body = b"{}" if method == "POST" else b""
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {old}"},
        {"Authorization": f"Basic {old}"},
        {"Cookie": f"sdv_session_{urlsplit(url).port}={old}"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost", "X-Forwarded-Host": "localhost", "X-Forwarded-For": "127.0.0.1"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"X-HTTP-Method-Override": "GET"},
        {"X-Original-URL": "/metrics", "X-Rewrite-URL": "/metrics"},
        {"X-HTTP-Method-Override": "POST", "X-Method-Override": "DELETE"},
    ):
        await _expect_nothing(url, method, target, headers, secrets, found, body)
    await _expect_nothing(url, method, target, {}, secrets, found, BIG)
    await _expect_nothing(url, method, f"{target}?token={old}", {}, secrets, found, body)
    for verb in VERBS:
        if verb != method:
            await _expect_nothing(url, verb, target, {}, secrets, found)


async def _expect_nothing(
    url: str,
    method: str,
    target: str,
    headers: dict[str, str],
    secrets: list[bytes],
    found: Attacked,
    body: bytes = b"",
) -> None:
    answer = await raw(url, method, target, headers, body)
    found.asked += 1
    told = [secret.decode() for secret in secrets if secret in answer]
    if told:
        found.broken.append(f"T16: {method} {target} with {headers or 'nothing'} told {told[0]}")
    if answer.startswith(b"HTTP/1.1 5") and b" 503 " not in answer[:14]:
        found.broken.append(f"T16: {method} {target} with {headers or 'nothing'}: {answer[:40]!r}")


async def _known(url: str, token: str) -> tuple[dict[str, Any], list[bytes]]:
    """Return the node's own document, and texts that only its operator may be told."""
    document = json.loads(await _body(url, "/api/v1/openapi.json", token))
    status = json.loads(await _body(url, "/api/v1/status", token))
    jobs = json.loads(await _body(url, "/api/v1/jobs", token))["jobs"]
    metrics = await _body(url, "/metrics", token)
    texts = [status["disk"]["path"], status["wallet"]["gas_wei"], "sdv_node_", token]
    texts += [job["prompt"] for job in jobs] + [job["requester"] for job in jobs]
    if not jobs or b"sdv_node_" not in metrics:
        raise AssertionError("the node has nothing yet that an attack could tell")
    return document, [text.encode() for text in texts]


async def _body(url: str, path: str, token: str) -> bytes:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as session, session.get(url + path, headers=headers) as answer:
        if answer.status != 200:
            raise AssertionError(f"{path} answered its operator {answer.status}")
        return await answer.read()


def _ask_on(url: str, token: str, found: Attacked, waited_s: list[float]) -> None:
    """Ask for the status as a dashboard would, over one connection, and note how long each answer took.

    In a thread of its own: the attacker's work is no part of what the operator waits for.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    for _ in range(ASKED):
        began = time.monotonic()
        connection.request("GET", "/api/v1/status", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        answer.read()
        waited_s.append(time.monotonic() - began)
        if answer.status != 200:
            found.broken.append(f"T16: the operator was answered {answer.status} under the attack")
        time.sleep(PAUSE_S)
    connection.close()
