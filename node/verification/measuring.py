"""A process that decodes a stranger's pictures: bounded in time and memory, without keys or sockets of ours.

``measure_apart`` starts it, ``python -m node.verification.measuring`` is it.
"""

import asyncio
import json
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_PATIENCE_S = 300
_MAX_MEMORY_BYTES = 6 * 2**30
_MAX_ANSWER_BYTES = 2**20
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}


async def measure_apart(result: Path, execution: Path, paths: Sequence[str]) -> list[dict[str, Any]]:
    """Return the measures of each file that two executions have, or why there are none, by ``path``.

    ``{"path", "frames", "psnr_db", "worst_psnr_db", "ssim", "worst_ssim"}`` or ``{"path", "problem"}``.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        str(result),
        str(execution),
        *paths,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=_ENVIRONMENT,
        limit=_MAX_ANSWER_BYTES,
    )
    measures: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while process.stdout is not None and (line := await process.stdout.readline()):
                measures.append(json.loads(line))
            await process.wait()
    except (TimeoutError, ValueError):
        pass
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    # A file that ends the process, or takes for ever, is named: those before it were measured.
    return measures + [
        {"path": path, "problem": "it could not be decoded within bounds"} for path in paths[len(measures) :]
    ]


def main(arguments: Sequence[str]) -> None:
    """Print one line of JSON for each file."""
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    # Imported under the limits, and only here: a requester's installation may lack the libraries.
    from node.verification.pictures import measure

    result, execution, *paths = arguments
    for path in paths:
        try:
            measured = measure(path, Path(result), Path(execution)).to_json()
        except (OSError, ValueError, MemoryError, SyntaxError) as error:
            measured = {"path": path, "problem": ascii(str(error))[1:-1][:200]}
        sys.stdout.write(f"{json.dumps(measured)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
