"""The self-check of the HTTP port: free or our own, and reached under the address that others are told."""

import errno
import socket

import aiohttp

from node.app.checks import Check, problem
from node.app.gpu_checks import node_process
from node.config import Config, HttpSection

TIMEOUT_S = 10.0
_LIVE = "/livez"
_ANSWERS = frozenset({200, 503})


def http_address(section: HttpSection) -> str:
    """Return the address of the node's HTTP port as this machine reaches it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(section.host, section.host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{section.port}"


async def check_port(config: Config) -> Check:
    """Does the node that runs answer, or is the port free for one that starts?"""
    http = config.http
    where = f"{http.host}:{http.port}"
    if node_process(config.node.directory) is not None:
        trouble = await _trouble(http_address(http) + _LIVE)
        if trouble is None:
            return Check("port", "ok", f"the node that runs answers at {where}")
        return problem("port", f"the node that runs does not answer at {where}: {trouble}", "see its log")
    if (error := _bind_error(http.host, http.port)) is None:
        return Check("port", "ok", f"{where} is free")
    if error.errno == errno.EADDRINUSE:
        return problem("port", f"{where} is in use by another program", "set http.port, or end that program")
    return problem("port", f"{where}: {error.strerror}", "set http.host and http.port")


async def check_public_url(config: Config) -> Check:
    """Does the address that requesters are told lead to this node?"""
    url = config.http.public_url
    if not url:
        return Check("public url", "skipped", "http.public_url is not set")
    if node_process(config.node.directory) is None:
        return Check("public url", "skipped", "asked when the node runs")
    trouble = await _trouble(url.rstrip("/") + _LIVE)
    if trouble is None:
        return Check("public url", "ok", f"{url} answers")
    remedy = "check DNS, the reverse proxy and the firewall; a router may not lead back to its own address"
    return Check("public url", "warning", f"{url} does not answer from here: {trouble}", remedy)


async def _trouble(url: str) -> str | None:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            return None if answer.status in _ANSWERS else f"it answers with status {answer.status}"
    except TimeoutError:
        return f"no answer within {TIMEOUT_S:g} s"
    except (aiohttp.ClientError, OSError) as error:
        return str(error)


def _bind_error(host: str, port: int) -> OSError | None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None
