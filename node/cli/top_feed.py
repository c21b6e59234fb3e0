"""What ``sdv-node top`` knows of the running node: read once, then followed by events, anew after a break."""

import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from node.cli.api import HINT, get_json, node_url, operator_headers
from node.config import Config
from node.errors import RefusedByPolicy, Unreachable

KEPT_JOBS = 60
SILENCE_S = 40.0
"""The node sends a beat at least every 15 s: after this long the line is dead."""
RETRY_S = 2.0
MAX_LINE = 4 * 2**20
OK = 200


@dataclass(slots=True)
class View:
    """What is shown. ``trouble`` is why it may be old, None while the node is heard."""

    status: dict[str, Any] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    trouble: str | None = None

    def take(self, kind: str, data: Any) -> None:
        """Take over one event: the status, a job, or a step of its rendering."""
        if not isinstance(data, dict):
            return
        if kind == "status":
            self.status = data
        elif kind in {"job", "progress"} and isinstance(data.get("job_id"), str):
            job_id = data["job_id"]
            self.jobs[job_id] = {**self.jobs.get(job_id, {}), **data}
            if len(self.jobs) > KEPT_JOBS:
                del self.jobs[min(self.jobs, key=lambda each: self.jobs[each].get("seen_at") or 0)]

    def newest(self) -> list[dict[str, Any]]:
        """Return the jobs, the newest first."""
        return sorted(self.jobs.values(), key=lambda job: job.get("seen_at") or 0, reverse=True)


def read(config: Config, view: View) -> None:
    """Read status and jobs anew. Raises Unreachable if no node answers, RefusedByPolicy for strangers."""
    code, status = get_json(config, "/api/v1/status")
    if code != OK:
        raise Unreachable(
            f"the node at {node_url(config.http)} does not tell its status: {status.get('error', code)}"
        )
    if status.get("view") == "public":
        raise RefusedByPolicy(f"the node at {node_url(config.http)} shows this to its operator alone: {HINT}")
    _, found = get_json(config, f"/api/v1/jobs?limit={KEPT_JOBS}")
    view.status = status
    view.jobs = {job["job_id"]: job for job in found.get("jobs", [])}


class Feed:
    """Keeps a view as the node is, on a thread of its own. ``changed`` is set at each change."""

    def __init__(self, config: Config, view: View) -> None:
        self._config = config
        self._view = view
        self._over = threading.Event()
        self.changed = threading.Event()

    def start(self) -> None:
        """Follow until ``stop``."""
        threading.Thread(target=self._run, name="events", daemon=True).start()

    def stop(self) -> None:
        """End following; a wait for the node may last until the process ends."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                read(self._config, self._view)
                self._view.trouble = None
                self.changed.set()
                for kind, data in events(self._config):
                    self._view.take(kind, data)
                    self.changed.set()
                    if self._over.is_set():
                        return
            except (RefusedByPolicy, Unreachable) as problem:
                self._view.trouble = str(problem)
                self.changed.set()
            self._over.wait(RETRY_S)


def events(config: Config) -> Iterator[tuple[str, Any]]:
    """Yield the node's events until the line breaks or is silent for too long.

    Ends at once where the node does not let this user follow; the caller then reads again every now and then.
    Source: the server-sent events of the HTML standard, of which the node uses one line of data an event.
    """
    parts = urlsplit(node_url(config.http))
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=SILENCE_S)
    try:
        headers = {"Accept": "text/event-stream", **operator_headers(config)}
        connection.request("GET", "/api/v1/events", headers=headers)
        answer = connection.getresponse()
        if answer.status != OK:
            return
        kind = ""
        while line := answer.readline(MAX_LINE):
            name, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "data" and kind != "beat":
                yield kind, json.loads(value)
    except (OSError, http.client.HTTPException, ValueError):
        return
    finally:
        connection.close()
