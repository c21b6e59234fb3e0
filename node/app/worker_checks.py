"""The self-check of workers that systemd starts: is each one there, and is it the one that was named?"""

from node.app.checks import Check, problem
from node.app.workers import standalone_places
from node.config import WorkerSection
from node.errors import NodeError
from node.worker.remote import reach


async def check_standalone_workers(section: WorkerSection) -> list[Check]:
    """Return a check for each socket; a worker at work is not disturbed by it."""
    try:
        places = standalone_places(section)
    except NodeError as error:
        return [problem("workers", str(error))]
    checks = []
    for place in places:
        name = f"worker {place.name}"
        if place.standalone is None:
            continue
        try:
            _, writer = await reach(place.standalone)
        except NodeError as error:
            checks.append(problem(name, str(error)))
        else:
            writer.close()
            checks.append(Check(name, "ok", f"it listens at {place.standalone.socket}"))
    return checks
