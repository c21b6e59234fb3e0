"""The files a provider delivered: where they lie, whether they are what was promised, how to look at them.

Layout ``<data dir>/downloaded-files/<deal id>/`` and the closing hints follow ``lilypad run``. Whether the
bytes are those of the submitted CID is decided before anything here is read.
"""

import os
import shlex
from pathlib import Path

from node.errors import NodeError
from node.job.spec import JobSpec
from node.requester.steps import printable
from node.types import Cid, DealId
from node.verification.integrity import examine, opened

FOLDER = "downloaded-files"
SHOWN_STDERR_BYTES = 4096
_MOST_TOLD = 3


class BadDelivery(NodeError):
    """The files are those that were submitted, but not those that the job promises."""


def result_folder(data_dir: Path, deal_id: DealId) -> Path:
    """Return where the result of a deal is kept."""
    return data_dir / FOLDER / deal_id


def set_aside(folder: Path) -> None:
    """Rename a folder that is in the way of a download, if there is one; its files are kept."""
    if not folder.exists():
        return
    number = 1
    while (old := folder.with_name(f"{folder.name}.old-{number}")).exists():
        number += 1
    folder.rename(old)


def check_delivery(directory: Path, spec: JobSpec) -> None:
    """Raise BadDelivery unless everything that the job and the manifest promise is there and unchanged."""
    try:
        problems = examine(directory, spec).problems
    except OSError as error:
        raise BadDelivery(f"{directory} cannot be read: {error.strerror}") from error
    if problems:
        raise BadDelivery("; ".join(problems[:_MOST_TOLD]))


def failure_text(directory: Path) -> str:
    """Return the end of what a failing provider wrote to stderr, in one line safe to print."""
    try:
        with opened(directory / "stderr") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - SHOWN_STDERR_BYTES))
            return printable(file.read(SHOWN_STDERR_BYTES).decode("utf-8", "replace"))
    except OSError:
        return ""


def closing_hints(directory: Path, cid: Cid | None, public_gateway: str) -> list[str]:
    """Return the lines that ``lilypad run`` ends with: open the folder, read stdout and stderr, the link.

    Without a gateway that could find it there is no link.
    """
    hints = [
        "Job completed, try:",
        f"    open {shlex.quote(str(directory))}",
        f"    cat {shlex.quote(str(directory / 'stdout'))}",
        f"    cat {shlex.quote(str(directory / 'stderr'))}",
    ]
    if cid is not None and public_gateway:
        hints.append(f"    {public_gateway.rstrip('/')}/ipfs/{cid}")
    return hints
