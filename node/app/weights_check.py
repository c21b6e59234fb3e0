"""Whether a profile's weights are, byte for byte, what was recorded when they were got."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from node.app.checks import Check, problem
from node.errors import NodeError
from node.pipeline.profiles import load_profile
from node.pipeline.weights.records import bytes_on_disk, verify
from node.worker.fake import is_fake

_TOLD = 3


async def check_weights(name: str, data_dir: Path, doing: Callable[[str], None]) -> Check:
    """Hash every file of the weights."""
    if is_fake(name):
        return Check("weights", "skipped", f"{name} has none")
    try:
        profile = load_profile(name)
        total = max(1, await asyncio.to_thread(bytes_on_disk, profile, data_dir))
        if profile.made_here and not profile.directory(data_dir).exists():
            return Check("weights", "skipped", f"{name} makes them on first use")
        hashed = 0

        def count(_file: str, size: int) -> None:
            nonlocal hashed
            hashed += size
            doing(f"hashing the weights of {name}: {min(100, 100 * hashed // total)} %")

        files = await asyncio.to_thread(verify, profile, data_dir, count)
    except NodeError as error:
        return problem("weights", str(error), f"sdv-node models verify {name}")
    bad = [f"{file.path} is {file.state}" for file in files if file.state not in {"ok", "unexpected"}]
    if bad:
        more = f" and {len(bad) - _TOLD} more" if len(bad) > _TOLD else ""
        return problem("weights", "; ".join(bad[:_TOLD]) + more, f"sdv-node models pull {name}")
    return Check("weights", "ok", f"{len(files)} files, {total / 1e9:.2g} GB, hashes as recorded")
