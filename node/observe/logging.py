"""How the node writes its log: JSON lines for machines, colour for a terminal, always on standard error.

Owns the structlog and standard library set-up and the rule that no secret reaches a log line. Owns no event
names: those belong to the rooms that log. A line into systemd's journal begins with its priority, as
sd-daemon(3) has it, so that ``journalctl -p warning`` finds what an operator should look at.
"""

import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from node.errors import Misconfigured

LogMode = Literal["auto", "json", "console"]

REDACTED: Final = "[redacted]"
_SECRET_KEY: Final = re.compile(
    r"passw(or)?d|passphrase|secret|private_?key|privkey|mnemonic|seed_phrase|authorization|cookie|api_?key"
    r"|(^|_)(access|auth|bearer|refresh)_?token$|^token$",
    re.IGNORECASE,
)
_NAMES_A_FILE: Final = re.compile(r"_(file|path|dir)$", re.IGNORECASE)
_CONTRACT: Final = re.compile(r"0x[0-9a-fA-F]{40}")
# 32 bytes in hex are a transaction hash in most keys and a private key in keys named like these.
_KEY_LIKE: Final = re.compile(r"(^|_)(key|seed|wallet|keystore|signer|account)s?($|_)", re.IGNORECASE)
_HEX_32_BYTES: Final = re.compile(r"(?<![0-9a-fA-F])(0x)?[0-9a-fA-F]{64}(?![0-9a-fA-F])")
# user:password@host, as in the address of a paid RPC endpoint
_URL_CREDENTIALS: Final = re.compile(r"(?<=://)[^/\s@]+@")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# A transaction's intent begins with the job that it is for, e.g. j17:submit.
_JOB_OF_INTENT: Final = re.compile(r"([jh][0-9]{1,20}):")
_MAX_DEPTH: Final = 8
_PRIORITIES: Final = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.NOTSET, 7),
)
"""The least level of the standard library for each priority of syslog(3)."""


def configure_logging(mode: LogMode = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """Route structlog and the standard library's loggers to one handler on ``stream`` (standard error).

    ``auto`` writes colour when the stream is a terminal and JSON otherwise, so also under systemd. Raises
    Misconfigured for an unknown mode or level. May be called again; the last call wins.
    """
    levels = logging.getLevelNamesMapping()
    if level.upper() not in levels:
        raise Misconfigured(
            f"log level {level!r} is unknown: allowed are debug, info, warning, error and critical"
        )
    if mode not in {"auto", "json", "console"}:
        raise Misconfigured(f"log format {mode!r} is unknown: allowed are auto, json and console")
    out = stream or sys.stderr
    as_json = mode == "json" or (mode == "auto" and not _is_terminal(out))

    handler = logging.StreamHandler(out)
    handler.setFormatter(
        json_formatter(for_journal=_is_journal(out))
        if as_json
        else _console_formatter(colours=_wants_colour(out))
    )
    root = logging.getLogger()
    root.handlers = [handler]
    set_level(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def set_level(level: str) -> None:
    """Have the log leave out what is below ``level``, one of those that ``configure_logging`` takes."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(number)
    # The node says itself where it listens; of the server only troubles are news.
    logging.getLogger("hypercorn.error").setLevel(max(logging.WARNING, number))


def json_formatter(*, for_journal: bool = False) -> logging.Formatter:
    """Return what writes each record as one JSON object in one line, without secrets.

    Keys: ``timestamp`` (UTC, ISO 8601), ``level``, ``event``, ``logger``, and what the room told.
    ``for_journal`` puts the priority before it, which the journal takes off again.
    """
    formatter = _JournalFormatter if for_journal else structlog.stdlib.ProcessorFormatter
    return formatter(
        foreign_pre_chain=_FOREIGN, processors=[*_CLEANING, structlog.processors.JSONRenderer(default=str)]
    )


def _console_formatter(*, colours: bool) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_FOREIGN, processors=[*_CLEANING, escape_control, console_renderer(colours=colours)]
    )


def console_renderer(*, colours: bool) -> structlog.dev.ConsoleRenderer:
    """Return what writes an event for people; control characters must have been escaped before."""
    return structlog.dev.ConsoleRenderer(
        colors=colours, exception_formatter=structlog.dev.plain_traceback, pad_event_to=28
    )


def name_job(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Add the ``job_id`` that the intent of a transaction begins with, also after a restart."""
    found = _JOB_OF_INTENT.match(str(event.get("intent", "")))
    if found is not None:
        event.setdefault("job_id", found[1])
    return event


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace secrets in an event by ``[redacted]``: by key name, by the value's shape, at any depth."""
    return {key: _clean(key, value, 0) for key, value in event.items()}


def escape_control(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Write control characters as escapes: text from the chain must not move the cursor of a terminal."""
    return {
        key: _CONTROL.sub(_escaped, value) if isinstance(value, str) else value
        for key, value in event.items()
    }


class _JournalFormatter(structlog.stdlib.ProcessorFormatter):
    """Puts the priority before the line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return ``<6>{...}``."""
        priority = next(number for least, number in _PRIORITIES if record.levelno >= least)
        return f"<{priority}>{super().format(record)}"


def _is_terminal(stream: TextIO) -> bool:
    # Under systemd standard error is the journal's socket, whatever a wrapper says about it.
    return stream.isatty() and "JOURNAL_STREAM" not in os.environ


def _is_journal(stream: TextIO) -> bool:
    """Whether the stream is what JOURNAL_STREAM names (``device:inode``), as systemd.exec(5) says."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _wants_colour(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR")


def _clean(key: str, value: object, depth: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    if _is_secret(key, value):
        return REDACTED
    if isinstance(value, int | float):
        return value
    if isinstance(value, bytes):
        return REDACTED if _KEY_LIKE.search(key) else "0x" + value.hex()
    if isinstance(value, str):
        text = _URL_CREDENTIALS.sub(REDACTED + "@", value)
        return _HEX_32_BYTES.sub(REDACTED, text) if _KEY_LIKE.search(key) else text
    if depth >= _MAX_DEPTH:
        return "[nested too deeply]"
    if isinstance(value, Mapping):
        return {str(name): _clean(str(name), item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(key, item, depth + 1) for item in value]
    return _clean(key, str(value), depth + 1)


def _is_secret(key: str, value: object) -> bool:
    if not _SECRET_KEY.search(key) or _NAMES_A_FILE.search(key):
        return False
    # "token" is also the payment token, whose contract address everybody may know.
    return not (isinstance(value, str) and _CONTRACT.fullmatch(value))


def _escaped(match: re.Match[str]) -> str:
    return f"\\x{ord(match[0]):02x}"


_SHARED: Final[list[Processor]] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    name_job,
]
_FOREIGN: Final[list[Processor]] = [*_SHARED, structlog.stdlib.ExtraAdder()]
_CLEANING: Final[list[Processor]] = [
    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
    structlog.processors.format_exc_info,
    redact,
]
