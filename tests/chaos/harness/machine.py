"""A clean Debian of its own, booted with systemd in a container that shares this machine's network.

The root comes from debootstrap once and is kept as an archive; every machine is made from it anew. Commands
are run in the container's own namespaces, as root there.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

RELEASE = "bookworm"
# What any server has, and what the package depends on: so that no index of packages has to be fetched.
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3.11,ca-certificates"
BOOT_S = 120.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def why_not_here() -> str | None:
    """Return why no such machine can be made here, None if it can."""
    if os.geteuid() != 0:
        return "making a Debian and booting it needs root"
    missing = [name for name in ("debootstrap", "systemd-nspawn", "nsenter", "tar") if not shutil.which(name)]
    if missing:
        return f"{', '.join(missing)} is not here: apt-get install debootstrap systemd-container"
    return None


class Machine:
    """A booted machine. ``root`` is its file system as seen from outside."""

    def __init__(self, root: Path, leader: int) -> None:
        self.root = root
        self._leader = leader

    async def run(self, *command: str, wanted: int | None = 0) -> str:
        """Run a command there and return what it printed. Raises AssertionError for another exit code."""
        code, output = await _run(
            *("nsenter", "--target", str(self._leader), "--all", "--"),
            *("env", "-i", f"PATH={PATH}", "LANG=C.UTF-8", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"),
            *command,
        )
        if wanted is not None and code != wanted:
            raise AssertionError(
                f"{' '.join(command)} ended with {code} instead of {wanted}: {output[-2000:]}"
            )
        return output

    async def shell(self, script: str, wanted: int | None = 0) -> str:
        """Run a script there as ``run`` does a command."""
        return await self.run("sh", "-c", script, wanted=wanted)


async def debian(archive: Path) -> None:
    """Make the archive of the root, if it is not there."""
    if archive.exists():
        return
    archive.parent.mkdir(parents=True, exist_ok=True)
    root = archive.with_suffix(".root")
    shutil.rmtree(root, ignore_errors=True)
    await _must("debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, str(root))
    half = archive.with_suffix(".half")
    await _must("tar", "-C", str(root), "-cf", str(half), ".")
    half.rename(archive)
    shutil.rmtree(root)


@asynccontextmanager
async def booted(archive: Path, folder: Path, shown: Path) -> AsyncIterator[Machine]:
    """Unpack the root below ``folder`` and boot it; ``shown`` is at /mnt there, read-only."""
    root = folder / "root"
    root.mkdir(parents=True)
    await _must("tar", "-C", str(root), "-xf", str(archive))
    # Where systemd does not run, there is nobody to ask for a unit of its own.
    keep = [] if Path("/run/systemd/system").is_dir() else ["--keep-unit"]
    name = f"sdv-{os.getpid()}-{folder.name}"
    with (folder / "console.log").open("wb") as console:
        container = await asyncio.create_subprocess_exec(
            *("systemd-nspawn", f"--directory={root}", "--register=no", *keep, f"--machine={name}"),
            *(f"--bind-ro={shown}:/mnt", "--boot"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(BOOT_S):
                machine = await _up(container, root)
            yield machine
        finally:
            # Its own shutdown, so that nothing of it is left behind; the second one ends it at once.
            for _ in range(2):
                if container.returncode is None:
                    container.terminate()
                    await asyncio.wait([asyncio.create_task(container.wait())], timeout=30.0)
            if container.returncode is None:
                container.kill()
                await container.wait()
            shutil.rmtree(root, ignore_errors=True)


async def _up(container: asyncio.subprocess.Process, root: Path) -> Machine:
    children = Path(f"/proc/{container.pid}/task/{container.pid}/children")
    while True:
        if container.returncode is not None:
            console = root.with_name("console.log").read_text(errors="replace")
            raise AssertionError(f"the machine does not boot: {console[-2000:]}")
        found = children.read_text().split()
        if found:
            machine = Machine(root, int(found[0]))
            state = await machine.run("systemctl", "is-system-running", wanted=None)
            if state.strip() in {"running", "degraded"}:
                return machine
        await asyncio.sleep(0.1)


async def _must(*command: str) -> None:
    code, output = await _run(*command)
    if code:
        raise AssertionError(f"{' '.join(command)} ended with {code}: {output[-2000:]}")


async def _run(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace")
