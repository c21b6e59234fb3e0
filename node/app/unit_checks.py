"""The self-check of the systemd service: installed, enabled, watched, and how exposed it is.

Facts: systemctl(1), systemd-analyze(1). Where systemd does not run, as in most containers, nothing is asked.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from node.app.checks import Check, problem

UNIT = "sdv-node.service"
BOOTED = Path("/run/systemd/system")
"""There if systemd is the service manager; sd_booted(3)."""
EXPOSED = 2.0
TIMEOUT_S = 20.0
_PROPERTIES = ("LoadState", "UnitFileState", "ActiveState", "WatchdogUSec", "NeedDaemonReload")
_EXPOSURE = re.compile(r"exposure level for \S+: ([0-9.]+)")


async def check_unit(booted: Path = BOOTED) -> Check:
    """Is the node a service here, as it should be?"""
    if not await asyncio.to_thread(booted.is_dir):
        return Check("unit", "skipped", "systemd does not run here")
    told = await _run(("systemctl", "show", UNIT, f"--property={','.join(_PROPERTIES)}"))
    if told is None:
        return Check("unit", "skipped", "systemctl does not answer")
    state = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    analysis = None
    if state.get("LoadState") == "loaded":
        analysis = await _run(("systemd-analyze", "security", "--no-pager", UNIT))
    found = _EXPOSURE.search(analysis or "")
    return judge_unit(state, float(found[1]) if found else None)


def judge_unit(state: Mapping[str, str], exposure: float | None) -> Check:
    """Return the check of a unit by its properties and its exposure, 0 (safe) to 10."""
    if state.get("LoadState") == "not-found":
        return Check("unit", "skipped", f"{UNIT} is not installed", "systemd/README.md tells how")
    if state.get("LoadState") != "loaded":
        return problem("unit", f"{UNIT} is {state.get('LoadState')}", f"systemctl status {UNIT}")
    facts = [state.get("ActiveState", "unknown"), state.get("UnitFileState") or "without a file"]
    if exposure is not None:
        facts.append(f"exposure {exposure:g}")
    told = f"{UNIT}: {', '.join(facts)}"
    if state.get("ActiveState") == "failed":
        return problem("unit", told, f"journalctl -u {UNIT} -n 50, then systemctl reset-failed {UNIT}")
    for wrong, remedy in (
        (state.get("NeedDaemonReload") == "yes", "its file has changed: systemctl daemon-reload"),
        (
            state.get("WatchdogUSec") in {"0", "infinity"},
            "it has no watchdog: set WatchdogSec=3min",
        ),
        (state.get("UnitFileState") == "disabled", f"it does not start at boot: systemctl enable {UNIT}"),
        (exposure is not None and exposure > EXPOSED, "use the hardening of the shipped unit"),
    ):
        if wrong:
            return Check("unit", "warning", told, remedy)
    return Check("unit", "ok", told)


async def _run(command: Sequence[str]) -> str | None:
    """Return what a command prints; None if it is not there or takes too long."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(TIMEOUT_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    return output.decode("utf-8", "replace")
