"""Events and jobs as JSON text and back; the class name is the tag."""

from functools import cache
from typing import Any, get_args

from pydantic import TypeAdapter

from node.job.events import JobEvent
from node.job.job import Job

EVENT_TYPES: dict[str, type[JobEvent]] = {kind.__name__: kind for kind in get_args(JobEvent)}


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(Job if name == Job.__name__ else EVENT_TYPES[name])


def encode_event(event: JobEvent) -> tuple[str, str]:
    """Return (kind, body)."""
    kind = type(event).__name__
    return kind, _adapter(kind).dump_json(event).decode()


def decode_event(kind: str, body: str) -> JobEvent:
    """Return the event; raises KeyError or pydantic's ValidationError for text that is none."""
    event: JobEvent = _adapter(kind).validate_json(body)
    return event


def encode_job(job: Job) -> str:
    """Return the job as JSON."""
    return _adapter(Job.__name__).dump_json(job).decode()


def decode_job(body: str) -> Job:
    """Return the job; raises pydantic's ValidationError for text that is none."""
    job: Job = _adapter(Job.__name__).validate_json(body)
    return job
