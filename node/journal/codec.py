"""Events and jobs as JSON text and back; the class name is the tag."""

from functools import cache
from typing import Any, get_args

from pydantic import TypeAdapter

from node.job.events import JobEvent
from node.job.job import Job

EVENT_TYPES: dict[str, type] = {kind.__name__: kind for kind in get_args(JobEvent)}


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def encode_event(event: JobEvent) -> tuple[str, str]:
    """Return (kind, body)."""
    kind = type(event)
    return kind.__name__, _adapter(kind).dump_json(event).decode()


def decode_event(kind: str, body: str) -> JobEvent:
    """Return the event; raises KeyError or pydantic's ValidationError for text that is none."""
    event: JobEvent = _adapter(EVENT_TYPES[kind]).validate_json(body)
    return event


def encode_job(job: Job) -> str:
    """Return the job as JSON."""
    return _adapter(Job).dump_json(job).decode()


def decode_job(body: str) -> Job:
    """Return the job; raises pydantic's ValidationError for text that is none."""
    job: Job = _adapter(Job).validate_json(body)
    return job
