"""The running node's control socket: commands of its own user, carried out by the process that holds the key.

One JSON line in, one JSON line out. Owns the socket and who may speak to it, not what the verbs do: those are
handed in. Facts: unix(7) (the mode of a socket file).
"""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import structlog

from node.errors import Fatal, NodeError, Unreachable
from node.job.foreign_json import read_json
from node.unix_peers import peer_uid

SOCKET_NAME = "control.sock"
MAX_REQUEST_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 1024 * 1024
REQUEST_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 16

Arguments = Mapping[str, Any]
Verb = Callable[[Arguments], Awaitable[dict[str, Any]]]
"""Carries out one command. Its NodeErrors reach the caller as they are, with their exit code.

A Fatal, once it was answered, also stops the node: what the operator alone got wrong is another NodeError.
"""


class BadRequest(NodeError):
    """A command the node does not understand."""

    exit_code = 2


class CommandFailed(NodeError):
    """What the running node said instead of doing what it was asked."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@asynccontextmanager
async def control_socket(
    directory: Path, verbs: Mapping[str, Verb], *, on_fatal: Callable[[Fatal], object]
) -> AsyncIterator[None]:
    """Answer commands on ``directory``'s socket. The caller holds the directory's lock.

    ``on_fatal`` hears of a Fatal that a command met, after its caller was answered.
    """
    door = _Door(verbs, on_fatal)
    with _bound(directory) as listener:
        server = await asyncio.start_unix_server(door.meet, sock=listener, limit=MAX_REQUEST_BYTES)
        try:
            yield
        finally:
            server.close()
            await door.close()


async def ask_running_node(
    directory: Path, verb: str, arguments: Arguments | None = None
) -> dict[str, Any] | None:
    """Have the node that works in ``directory`` carry out a command; None if no node listens there.

    Waits as long as the command takes: a transaction is confirmed or refused before it is answered. Raises
    CommandFailed with the node's own words and exit code, Unreachable if it stopped before it answered.
    """
    try:
        with _short_name(directory) as name:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(name, limit=MAX_ANSWER_BYTES)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        return None
    except (OSError, TimeoutError) as error:
        raise Unreachable(
            f"the node in {directory} does not take commands ({type(error).__name__}): "
            "run this as the user that runs the node"
        ) from error
    try:
        writer.write(json.dumps({"verb": verb, "arguments": dict(arguments or {})}).encode() + b"\n")
        await writer.drain()
        line = await reader.readline()
    except (OSError, ValueError) as error:
        raise Unreachable(_stopped(directory)) from error
    finally:
        writer.close()
    if not line.endswith(b"\n"):
        raise Unreachable(_stopped(directory))
    return _result(line)


def _stopped(directory: Path) -> str:
    return (
        f"the node in {directory} stopped before it answered: what it had signed goes on at its next start, "
        "see sdv-node status"
    )


def _result(line: bytes) -> dict[str, Any]:
    answer = json.loads(line)
    if "error" in answer:
        raise CommandFailed(str(answer["error"]), int(answer["exit_code"]))
    result: dict[str, Any] = answer["result"]
    return result


class _Door:
    """Takes connections, looks at who calls, and lets verbs do the rest."""

    def __init__(self, verbs: Mapping[str, Verb], on_fatal: Callable[[Fatal], object]) -> None:
        self._verbs = verbs
        self._on_fatal = on_fatal
        self._visits: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger()

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: one command."""
        task = asyncio.current_task()
        if task is not None:
            self._visits.add(task)
        fatal: Fatal | None = None
        try:
            answer, fatal = await self._answer(reader, writer.get_extra_info("socket"))
            writer.write(answer + b"\n")
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
            if task is not None:
                self._visits.discard(task)
            if fatal is not None:
                self._on_fatal(fatal)

    async def close(self) -> None:
        """End the commands that are under way. What they sent is followed by the transaction manager."""
        visits = list(self._visits)
        for visit in visits:
            visit.cancel()
        await asyncio.gather(*visits, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, peer: socket.socket) -> tuple[bytes, Fatal | None]:
        """Return the answer, and what the node must stop for once it is given."""
        fatal: Fatal | None = None
        try:
            self._check_caller(peer)
            verb, arguments = await _read_request(reader)
            carry_out = self._find(verb)
            self._log.info("command_taken", verb=verb)
            document: dict[str, Any] = {"result": await carry_out(arguments)}
        except NodeError as error:
            document = {"error": str(error), "exit_code": error.exit_code}
            fatal = error if isinstance(error, Fatal) else None
        except Exception:  # noqa: BLE001 - a bug in one command ends that command, not the node
            # Its log has the trace, the caller gets no inner text.
            self._log.exception("command_failed")
            document = {"error": "the command failed inside the node: see its log", "exit_code": 1}
        answer = json.dumps(document).encode()
        if len(answer) >= MAX_ANSWER_BYTES:
            answer = json.dumps({"error": "the answer is too large", "exit_code": 1}).encode()
        return answer, fatal

    def _find(self, verb: str) -> Verb:
        if verb not in self._verbs:
            raise BadRequest(
                f"this node has no command {verb!r:.60}, it knows {', '.join(sorted(self._verbs))}: "
                "use the sdv-node of the same version as the one that runs"
            )
        return self._verbs[verb]

    def _check_caller(self, peer: socket.socket) -> None:
        if len(self._visits) > MAX_CONNECTIONS:
            raise CommandFailed(f"{MAX_CONNECTIONS} commands are under way already: wait for them", 75)
        uid = peer_uid(peer)
        if uid not in {0, os.geteuid()}:
            self._log.warning("command_refused", uid=uid)
            raise CommandFailed("only the user that runs the node, or root, may command it", 4)


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, Any]]:
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            line = await reader.readline()
    except TimeoutError:
        raise BadRequest(f"no command came within {REQUEST_TIMEOUT_S:g} s") from None
    except ValueError:
        raise BadRequest(f"a command is one line of at most {MAX_REQUEST_BYTES} bytes") from None
    try:
        request = read_json(line)
    except (ValueError, RecursionError):
        raise BadRequest("a command is one line of JSON") from None
    if not isinstance(request, dict):
        raise BadRequest("a command is a JSON object with verb and arguments")
    verb, arguments = request.get("verb"), request.get("arguments", {})
    if not isinstance(verb, str) or not isinstance(arguments, dict):
        raise BadRequest("a command is a JSON object with verb (a string) and arguments (an object)")
    return verb, arguments


@contextmanager
def _bound(directory: Path) -> Iterator[socket.socket]:
    """Give a socket that listens in ``directory`` under a name only this user can open."""
    with _short_name(directory) as name, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        # Whoever left it is gone, or the lock of the directory would not be ours.
        (directory / SOCKET_NAME).unlink(missing_ok=True)
        # The file takes its mode from the descriptor, so there is no moment at which others could open it.
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(name)
        try:
            yield listener
        finally:
            (directory / SOCKET_NAME).unlink(missing_ok=True)


@contextmanager
def _short_name(directory: Path) -> Iterator[str]:
    """Give the path through a descriptor: a socket's name may have 107 bytes, a data directory's more."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
    finally:
        os.close(descriptor)
