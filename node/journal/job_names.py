"""The newest jobs' names, for a shell that completes them: quick, and nothing where nothing can be read."""

import sqlite3
from pathlib import Path
from urllib.parse import quote

_WAIT_S = 0.1


def newest_job_names(directory: Path, limit: int) -> list[tuple[str, str]]:
    """Return (job id, phase) of the newest jobs in a data directory; none if its journal cannot be read."""
    try:
        address = f"file:{quote(str(directory / 'journal.sqlite'))}?mode=ro"
        connection = sqlite3.connect(address, uri=True, timeout=_WAIT_S)
        try:
            found = connection.execute(
                "SELECT job_id, phase FROM jobs ORDER BY number DESC LIMIT ?", (limit,)
            ).fetchall()
        finally:
            connection.close()
    except sqlite3.Error:
        return []
    return [(str(job_id), str(phase)) for job_id, phase in found]
