"""Asking the running node over its HTTP port, as its operator where the token can be read. Bounded."""

import http.client
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from node.config import Config, HttpSection
from node.errors import Misconfigured, RefusedByPolicy, Unreachable

TIMEOUT_S = 5.0
MAX_ANSWER = 16 * 2**20
TOKEN_VARIABLE = "SDV_NODE_TOKEN_FILE"  # noqa: S105 - the name of a variable
HINT = f"run this as the user that runs the node, or set {TOKEN_VARIABLE} to a file with its token"


def node_url(section: HttpSection) -> str:
    """Return the address of the node's HTTP port as this machine reaches it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(section.host, section.host)  # noqa: S104
    return f"http://{host}:{section.port}"


def get_json(config: Config, path: str) -> tuple[int, Any]:
    """Return (status, document).

    Raises Unreachable if no node answers there, RefusedByPolicy if only its operator may ask for this.
    """
    url = node_url(config.http)
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path, headers=operator_headers(config))
        answer = connection.getresponse()
        status, document = answer.status, json.loads(answer.read(MAX_ANSWER))
    except (OSError, http.client.HTTPException, ValueError) as problem:
        raise Unreachable(
            f"no node answers at {url} ({problem}): start it with sdv-node start, or point http.port at it"
        ) from problem
    finally:
        connection.close()
    if status == http.client.UNAUTHORIZED:
        raise RefusedByPolicy(f"the node at {url} answers its operator alone: {HINT}")
    return status, document


def operator_headers(config: Config) -> dict[str, str]:
    """Return the header that shows the operator, none where the token cannot be read."""
    token = operator_token(config)
    return {"Authorization": f"Bearer {token}"} if token else {}


def operator_token(config: Config) -> str | None:
    """Return the node's token, None where the data directory's file is not there or not ours to read.

    Raises Misconfigured if the file that the environment names cannot be used.
    """
    from node.web.token_file import FILE_NAME, TokenFile

    named = os.environ.get(TOKEN_VARIABLE)
    if named:
        return TokenFile(Path(named)).read()
    path = config.node.directory / FILE_NAME
    try:
        return TokenFile(path).read() if os.access(path, os.R_OK) else None
    except Misconfigured:
        # The node says what is wrong with its own file when it starts; here the public part is shown.
        return None
