"""Asking the running node over its HTTP port, bounded in size and time."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from node.config import HttpSection
from node.errors import Unreachable

TIMEOUT_S = 5.0
MAX_ANSWER = 16 * 2**20


def node_url(section: HttpSection) -> str:
    """Return the address of the node's HTTP port as this machine reaches it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(section.host, section.host)  # noqa: S104
    return f"http://{host}:{section.port}"


def get_json(section: HttpSection, path: str) -> tuple[int, Any]:
    """Return (status, document). Raises Unreachable if no node answers there."""
    url = node_url(section)
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read(MAX_ANSWER))
    except (OSError, http.client.HTTPException, ValueError) as problem:
        raise Unreachable(
            f"no node answers at {url} ({problem}): start it with sdv-node start, or point http.port at it"
        ) from problem
    finally:
        connection.close()
