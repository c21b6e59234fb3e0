"""T22: the Debian package on a clean machine, from the installation to the purge, with paid jobs between.

Everything is judged on that machine or on the chain: units as systemd reports them, files, processes, deals.
"""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from node.app.sandbox import DEV_PASSWORD
from node.job.deal import AgreementState
from tests.chaos.harness.arena import QUICK, Arena, toml
from tests.chaos.harness.crowd import Crowd
from tests.chaos.harness.machine import Machine, booted, debian
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
ARCHIVE = ROOT / ".cache" / "t22" / "bookworm.tar"
NODE, WORKER = "sdv-node.service", "sdv-node-worker@0.service"
EXPOSURE = {NODE: 15, WORKER: 15}
PROFILE = "fake:20"
DATA, SETTINGS = Path("/var/lib/sdv-node"), Path("/etc/sdv-node")
NO_CAPABILITY, FILTERED = "0000000000000000", "2"


@dataclass
class Packaged:
    """What was found on one machine, and what was measured there."""

    broken: list[str] = field(default_factory=list)
    paid: int = 0
    checks: int = 0
    package_bytes: int = 0
    exposure: dict[str, float] = field(default_factory=dict)

    def check(self, holds: bool, what: str) -> None:
        """Count a check, and note what it found broken."""
        self.checks += 1
        if not holds:
            self.broken.append(f"T22: {what}")


async def package_on_debian(arena: Arena) -> Packaged:
    """Install, start, be paid, upgrade, be paid again, remove, purge; with money there and without."""
    await arena.rewind()
    folder = arena.directory / "run-packaging"
    (folder / "packages").mkdir(parents=True)
    package, newer = await asyncio.to_thread(_packages, folder / "packages")
    await debian(ARCHIVE)
    found = Packaged(package_bytes=(folder / "packages" / package).stat().st_size)
    crowd = Crowd(arena)
    async with booted(ARCHIVE, folder, folder / "packages") as machine, _attended(crowd):
        await _install(machine, package)
        await _installed(machine, found)
        _configure(arena, machine, folder)
        await machine.shell(f"chown -R sdv-node:sdv-node {DATA} && systemd-tmpfiles --create sdv-node.conf")
        await machine.run("systemctl", "enable", "--now", WORKER, NODE)
        await _confined(machine, found)
        await _paid(crowd, found, "before the upgrade")
        before = await _processes(machine)
        written = (machine.root / "etc/sdv-node/config.toml").read_text()

        await _install(machine, newer)
        after = await _processes(machine)
        found.check(all(after.values()), f"what ran before the upgrade runs after it: {after}")
        found.check(not set(before.values()) & set(after.values()), "the upgrade left an old process")
        kept = (machine.root / "etc/sdv-node/config.toml").read_text() == written
        found.check(kept, "the upgrade changed the operator's settings")
        await _paid(crowd, found, "after the upgrade")
        await _encrypted(machine, found)
        await _paid(crowd, found, "with an encrypted password")

        await machine.run("apt-get", "remove", "-q", "-y", "sdv-node")
        await _removed(machine, found)
        await _purged_with_money(machine, found)
        await _purged_without_money(machine, found, package)
    return found


def _packages(folder: Path) -> tuple[str, str]:
    """Build the package, and the same one with a higher version; return their names."""
    build = [str(ROOT / "scripts" / "package"), "--models", "none", "--out", str(folder)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    (package,) = folder.glob("*.deb")
    tree = folder.parent / "newer"
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(tree)], check=True)
    control = tree / "DEBIAN" / "control"
    lines = control.read_text().splitlines()
    control.write_text(
        "\n".join(f"{line}.1" if line.startswith("Version:") else line for line in lines) + "\n"
    )
    newer = folder / "newer.deb"
    # As extracted by root: owners and modes are those of the package.
    command = ["dpkg-deb", "-Znone", "--root-owner-group", "--build", str(tree), str(newer)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return package.name, newer.name


@asynccontextmanager
async def _attended(crowd: Crowd) -> AsyncIterator[None]:
    await crowd.open()
    attending = asyncio.create_task(crowd.attend())
    try:
        yield
    finally:
        attending.cancel()
        await asyncio.wait([attending])


async def _install(machine: Machine, package: str) -> str:
    return await machine.run("apt-get", "install", "-q", "-y", "--no-install-recommends", f"/mnt/{package}")


async def _installed(machine: Machine, found: Packaged) -> None:
    """Check what the package alone leaves behind."""
    for unit in (NODE, WORKER):
        state = await machine.run("systemctl", "is-active", unit, wanted=None)
        found.check(state.strip() == "inactive", f"{unit} is {state.strip()} before there are settings")
        told = await machine.run(
            "systemd-analyze", "security", "--no-pager", f"--threshold={EXPOSURE[unit]}", unit
        )
        found.exposure[unit] = float(told.rpartition("Overall exposure level for")[2].split()[1])
        await machine.run("systemd-analyze", "verify", "--man=no", unit)
    found.check(await machine.run("dpkg", "--verify", "sdv-node") == "", "dpkg finds changed files")
    settings = json.loads(await machine.run("sdv-node", "config", "show", "--json"))
    found.check(settings["node"]["data_dir"] == str(DATA), "the shipped settings are not in force")
    doctor = json.loads(await machine.run("sdv-node", "doctor", "--json", wanted=None))
    found.check(bool(doctor), "doctor says nothing")
    modes = await machine.shell(
        f"stat -c '%a %U %G' {SETTINGS} {SETTINGS}/config.toml {SETTINGS}/worker.toml"
    )
    expected = ["755 root root", "640 root sdv-node", "644 root root"]
    found.check(modes.splitlines() == expected, f"modes in {SETTINGS}: {modes}")
    unresolved = await machine.shell(
        "find /usr/lib/sdv-node -name '*.so*' -exec ldd {} + 2>/dev/null | grep 'not found' | sort -u",
        wanted=None,
    )
    found.check(unresolved == "", f"libraries that no package brings: {unresolved}")
    pages = await machine.shell("ls /usr/share/man/man1/sdv-node*.1.gz | wc -l")
    found.check(int(pages) > 1, "there are no man pages")
    await machine.shell("bash -n /usr/share/bash-completion/completions/sdv-node")


def _configure(arena: Arena, machine: Machine, folder: Path) -> None:
    """Write settings and keystore of a provider on the arena's chain, as an operator does by hand."""
    settings = arena.box.settings("provider", folder / "provider")
    port = free_port()
    layers = {
        "node": {"data_dir": str(DATA)},
        "wallet": {"keystore": str(DATA / "keystore.json"), "password_file": ""},
        "http": {"port": port, "public_url": f"http://127.0.0.1:{port}"},
        "worker": {"profile": PROFILE, "sockets": ["/run/sdv-node-worker/0/worker.sock"]},
    }
    for layer in (QUICK, layers):
        for section, values in layer.items():
            settings[section] = settings.get(section, {}) | values
    lines = [
        line
        for section, values in settings.items()
        for line in (f"[{section}]", *(f"{key} = {toml(value)}" for key, value in values.items()))
    ]
    there = machine.root / SETTINGS.relative_to("/")
    (there / "config.toml").write_text("\n".join(lines) + "\n")
    (there / "worker.toml").write_text(f'[worker]\nprofile = "{PROFILE}"\n')
    (there / "keystore-password").touch(mode=0o600)
    (there / "keystore-password").write_text(DEV_PASSWORD)
    data = machine.root / DATA.relative_to("/")
    data.mkdir(mode=0o700, exist_ok=True)
    keystore = data / "keystore.json"
    keystore.touch(mode=0o600)
    keystore.write_text((folder / "provider" / "keystore.json").read_text())


async def _processes(machine: Machine) -> dict[str, str]:
    """Return the main process of each unit that is active, an empty text for one that is not."""
    states = {}
    for unit in (NODE, WORKER):
        told = await machine.run("systemctl", "show", "--property=ActiveState,MainPID", unit)
        properties = dict(line.split("=", 1) for line in told.split())
        states[unit] = properties["MainPID"] if properties["ActiveState"] == "active" else ""
    return states


async def _confined(machine: Machine, found: Packaged) -> None:
    """Look at the running processes: what the units promise is what the kernel holds them to."""
    for unit, pid in (await _processes(machine)).items():
        if not pid:
            log = await machine.run("journalctl", "--no-pager", "-n", "30", "-u", unit)
            raise AssertionError(f"{unit} does not run:\n{log}")
        lines = (await machine.run("cat", f"/proc/{pid}/status")).splitlines()
        status = dict(line.split(":\t", 1) for line in lines)
        for capabilities in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
            found.check(
                status[capabilities] == NO_CAPABILITY, f"{unit} has {capabilities} {status[capabilities]}"
            )
        found.check(status["NoNewPrivs"] == "1", f"{unit} may gain privileges")
        found.check(status["Seccomp"] == FILTERED, f"{unit} has no filter of system calls")
        inside = f"nsenter --target {pid} --mount --net --ipc --"
        for path in ("/usr", "/etc", "/var/lib"):
            tried = await machine.shell(f"{inside} touch {path}/probe 2>&1", wanted=1)
            found.check("Read-only" in tried, f"{unit} could write to {path}: {tried}")
        devices = (await machine.shell(f"{inside} find /dev -type b -o -name 'sd*' -o -name 'vd*'")).split()
        found.check(devices == [], f"{unit} sees {devices}")
        up = (await machine.shell(f"{inside} cat /proc/net/route", wanted=None)).splitlines()
        if unit == WORKER:
            found.check(len(up) <= 1, f"a worker has a network: {up}")
            hidden = await machine.shell(
                f"{inside} sh -c 'ls -A {DATA}; cat {SETTINGS}/config.toml'", wanted=None
            )
            found.check(hidden.strip() == "", f"a worker sees of the node: {hidden[:200]}")
    owner = await machine.shell(f"stat -c %U /run/sdv-node-worker/0/worker.sock {DATA}/journal.sqlite")
    found.check(owner.split() == ["sdv-node-worker", "sdv-node"], f"owners are {owner.split()}")


async def _paid(crowd: Crowd, found: Packaged, when: str) -> None:
    """Have a job done and accept it, which pays it."""
    found.paid += 1
    await crowd.post([f"a job {when}"])
    await crowd.ended(found.paid)
    accepted = sum(state is AgreementState.RESULTS_ACCEPTED for state in crowd.states.values())
    found.check(accepted == found.paid, f"{accepted} of {found.paid} jobs were paid {when}")


async def _encrypted(machine: Machine, found: Packaged) -> None:
    """Have the password on disk only encrypted, by the drop-in as shipped."""
    await machine.shell(
        f"systemd-creds encrypt --name=keystore-password {SETTINGS}/keystore-password "
        f"{SETTINGS}/keystore-password.cred && rm {SETTINGS}/keystore-password && "
        "install -D -m 644 -t /etc/systemd/system/sdv-node.service.d "
        "/usr/share/doc/sdv-node/examples/sdv-node.service.d/encrypted-password.conf && "
        "systemctl daemon-reload && systemctl restart sdv-node"
    )
    found.check(bool((await _processes(machine))[NODE]), "the node does not run with an encrypted password")


async def _removed(machine: Machine, found: Packaged) -> None:
    running = await machine.shell(
        "find /proc -maxdepth 1 -user sdv-node -o -maxdepth 1 -user sdv-node-worker", wanted=None
    )
    found.check(running == "", f"processes are left: {running}")
    left = await machine.shell(
        "ls -d /usr/lib/sdv-node /usr/bin/sdv-node /usr/share/doc/sdv-node 2>&-", wanted=None
    )
    found.check(left == "", f"files are left: {left}")
    kept = await machine.shell(
        f"ls {SETTINGS}/config.toml {DATA}/keystore.json {DATA}/journal.sqlite | wc -l"
    )
    found.check(int(kept) == 3, "remove took settings or data away")


async def _purged_with_money(machine: Machine, found: Packaged) -> None:
    told = await machine.run("apt-get", "purge", "-q", "-y", "sdv-node")
    found.check("was kept" in told, f"the purge does not say what it kept: {told[-500:]}")
    kept = await machine.shell(
        f"ls {SETTINGS}/keystore-password.cred {DATA}/keystore.json {DATA}/journal.sqlite | wc -l",
        wanted=None,
    )
    found.check(int(kept) == 3, "the purge took a keystore, its password or a journal away")


async def _purged_without_money(machine: Machine, found: Packaged, package: str) -> None:
    """Purge where nothing was earned: no file is left."""
    await machine.run("rm", "-r", str(DATA), str(SETTINGS))
    await _install(machine, package)
    await machine.run("apt-get", "purge", "-q", "-y", "sdv-node")
    left = await machine.shell(
        "find /etc /usr /var/lib /var/cache /run -xdev -name '*sdv*node*' ! -path '*/dpkg/*'"
    )
    # Only the operator's own drop-in, which no package put there.
    found.check(left.split() == ["/etc/systemd/system/sdv-node.service.d"], f"files are left: {left}")
