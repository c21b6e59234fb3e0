"""The shipped units are correct, start what exists, and stay hardened."""

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from node.config import load

FOLDER = Path(__file__).resolve().parents[3] / "systemd"
UNIT = FOLDER / "sdv-node.service"
WORKER = FOLDER / "sdv-node-worker@.service"
DROP_INS = {path.stem: path for path in (FOLDER / "drop-ins").glob("*.conf")}
EXPOSURE = {None: 15, "gpu-readings": 16, "one-process": 15, "encrypted-password": 15, "remote-signer": 15}
"""Tenths, as systemd counts: of the node's unit alone, and with each drop-in."""
UNITS = pytest.mark.parametrize("unit", [UNIT, WORKER], ids=["node", "worker"])
WITH_DROP_INS = pytest.mark.parametrize("drop_in", EXPOSURE)


def settings(name: str, unit: Path = UNIT) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (Debian and Ubuntu: apt-get install systemd)")
    return path


def installed(folder: Path, unit: Path, drop_in: str | None = None) -> Path:
    """Return a copy of a unit, with a drop-in, that starts what is on this machine."""
    copy = folder / unit.name.replace("@", "@0")
    text = re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE)
    copy.write_text(re.sub(r"^Documentation=.*$\n", "", text, flags=re.MULTILINE))
    if drop_in is not None:
        (folder / f"{unit.name}.d").mkdir()
        shutil.copy(DROP_INS[drop_in], folder / f"{unit.name}.d")
    return copy


def found_wrong(copy: Path) -> list[str]:
    """Return what systemd says about a unit; a misspelt setting is told on stderr alone."""
    command = [tool("systemd-analyze"), "verify", "--man=no", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True)
    about_us = [line for line in done.stderr.splitlines() if str(copy.parent) in line or copy.name in line]
    return about_us or ([] if done.returncode == 0 else [done.stderr])


def threshold(copy: Path, tenths: int) -> subprocess.CompletedProcess[str]:
    command = [tool("systemd-analyze"), "security", "--offline=true", "--no-pager", str(copy)]
    return subprocess.run([*command, f"--threshold={tenths}"], capture_output=True, text=True)


def test_every_drop_in_is_gated_and_told():
    assert set(DROP_INS) == set(EXPOSURE) - {None}
    readme = (FOLDER / "README.md").read_text()
    assert [name for name in DROP_INS if f"`{name}.conf`" not in readme] == []


def test_systemd_finds_nothing_to_say_about_the_workers_unit(tmp_path):
    assert found_wrong(installed(tmp_path, WORKER)) == []


@WITH_DROP_INS
def test_systemd_finds_nothing_to_say_about_the_nodes_unit(tmp_path, drop_in):
    assert found_wrong(installed(tmp_path, UNIT, drop_in)) == []


def test_a_misspelt_setting_would_be_found(tmp_path):
    copy = installed(tmp_path, UNIT)
    copy.write_text(copy.read_text().replace("NoNewPrivileges=", "NoNewPriviledges="))
    assert "NoNewPriviledges" in " ".join(found_wrong(copy))


@WITH_DROP_INS
def test_the_nodes_exposure_stays_low_as_systemd_counts(tmp_path, drop_in):
    copy = installed(tmp_path, UNIT, drop_in)
    done = threshold(copy, EXPOSURE[drop_in])
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_the_workers_exposure_stays_low_as_systemd_counts(tmp_path):
    done = threshold(installed(tmp_path, WORKER), 15)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_a_unit_that_gives_something_up_would_be_found(tmp_path):
    copy = installed(tmp_path, UNIT)
    copy.write_text(re.sub(r"^SystemCallFilter=.*\n", "", copy.read_text(), flags=re.MULTILINE))
    assert threshold(copy, EXPOSURE[None]).returncode == 1


def test_the_command_is_one_the_node_understands():
    (command,) = settings("ExecStart")
    program, *arguments = shlex.split(command)
    assert program == "/usr/bin/sdv-node"
    assert arguments == ["--config", "/etc/sdv-node/config.toml", "start"]
    done = subprocess.run(
        [sys.executable, "-m", "node.cli.main", *arguments, "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Run the node until it is told to stop" in done.stdout


def test_the_workers_command_is_one_that_listens_where_its_group_may_connect():
    (command,) = settings("ExecStart", WORKER)
    program, *arguments = shlex.split(command)
    assert program == "/usr/bin/sdv-node"
    socket = arguments[arguments.index("--socket") + 1]
    assert socket == f"/run/{settings('RuntimeDirectory', WORKER)[0]}/worker.sock"
    assert socket.replace("%i", "0") in (FOLDER / "README.md").read_text()
    assert arguments[arguments.index("--user") + 1] == settings("User")[0]
    done = subprocess.run(
        [sys.executable, "-m", "node.cli.main", *arguments, "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Render for a node that runs under another user" in done.stdout


def test_the_node_has_no_gpu_and_runs_no_code_that_it_made_itself():
    assert settings("PrivateDevices") == ["yes"]
    assert settings("DeviceAllow") == []
    assert settings("MemoryDenyWriteExecute") == ["yes"]


def test_a_worker_has_no_network_and_neither_the_key_nor_what_the_node_keeps():
    assert settings("PrivateNetwork", WORKER) == ["yes"]
    assert settings("RestrictAddressFamilies", WORKER) == ["AF_UNIX"]
    assert settings("LoadCredential", WORKER) == []
    hidden = " ".join(settings("InaccessiblePaths", WORKER)).split()
    (credential,) = settings("LoadCredential")
    (config,) = re.findall(r"--config (\S+)", UNIT.read_text())
    assert {f"-{path}" for path in ("/var/lib/sdv-node", config, credential.partition(":")[2])} <= set(hidden)
    assert settings("User", WORKER) != settings("User")


def test_a_worker_may_read_the_settings_that_it_is_given():
    (config,) = re.findall(r"--config (\S+)", WORKER.read_text())
    assert f"-{config}" not in " ".join(settings("InaccessiblePaths", WORKER)).split()
    assert "d /etc/sdv-node 0755 root root -" in (FOLDER / "sdv-node.tmpfiles.conf").read_text()


def test_node_and_worker_agree_on_where_results_are_left_and_may_see_each_others_user():
    defaults = load(environment={}).worker
    assert f"Environment=SDV_NODE__WORKER__EXCHANGE={defaults.exchange}" in WORKER.read_text()
    assert settings("ReadWritePaths") == [f"-{defaults.exchange}"]
    assert settings("User", WORKER) == [defaults.user]
    assert settings("PrivateUsers", WORKER) == settings("PrivateUsers") == ["no"]
    assert re.search(
        rf"^d {defaults.exchange} 2770 ", (FOLDER / "sdv-node.tmpfiles.conf").read_text(), re.MULTILINE
    )


@UNITS
def test_systemd_waits_for_readiness_watches_and_takes_word_from_the_process_alone(unit):
    assert settings("Type", unit) == ["notify"]
    assert settings("NotifyAccess", unit) == ["main"]
    assert settings("WatchdogSec", unit) == ["3min"]


def test_the_password_comes_as_a_credential_and_is_where_the_readme_says():
    (credential,) = settings("LoadCredential")
    name, _, path = credential.partition(":")
    readme = (FOLDER / "README.md").read_text()
    assert f"/run/credentials/{UNIT.name}/{name}" in readme
    assert path in readme
    assert not re.search(r"^Environment=.*(password|key)", UNIT.read_text(), re.IGNORECASE | re.MULTILINE)
    encrypted = settings("LoadCredentialEncrypted", DROP_INS["encrypted-password"])
    assert [line.partition(":")[0] for line in encrypted] == [name]


def test_the_user_and_the_directories_are_made_by_systemds_own_tools(tmp_path):
    for folder, source in (("sysusers.d", "sysusers"), ("tmpfiles.d", "tmpfiles")):
        target = tmp_path / "usr" / "lib" / folder
        target.mkdir(parents=True)
        shutil.copy(FOLDER / f"sdv-node.{source}.conf", target / "sdv-node.conf")
    (tmp_path / "etc").mkdir()
    users = subprocess.run(
        [tool("systemd-sysusers"), f"--root={tmp_path}", "sdv-node.conf"], capture_output=True, text=True
    )
    assert users.returncode == 0, users.stderr
    passwd = (tmp_path / "etc" / "passwd").read_text()
    ours = next(line for line in passwd.splitlines() if line.startswith("sdv-node:"))
    assert ours.split(":")[4:6] == ["sdv-node compute provider", "/var/lib/sdv-node"]
    groups = (tmp_path / "etc" / "group").read_text()
    assert re.search(r"^video:[^:]*:\d+:sdv-node-worker$", groups, re.MULTILINE)
    assert re.search(r"^sdv-node-worker:[^:]*:\d+:sdv-node$", groups, re.MULTILINE)
    made = subprocess.run(
        [tool("systemd-tmpfiles"), f"--root={tmp_path}", "--create", "sdv-node.conf"],
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "etc" / "sdv-node").stat().st_mode & 0o777 == 0o755
    exchange = tmp_path / "var" / "lib" / "sdv-node-worker" / "jobs"
    assert exchange.stat().st_mode & 0o7777 == 0o2770


def test_the_unit_names_the_user_that_is_made():
    assert settings("User") == ["sdv-node"]
    lines = (FOLDER / "sdv-node.sysusers.conf").read_text().splitlines()
    assert [line.split()[1] for line in lines if line.startswith("u ")] == [
        *settings("User"),
        *settings("User", WORKER),
    ]


@UNITS
def test_the_unit_has_each_single_setting_once(unit):
    parser = configparser.RawConfigParser(strict=False)
    repeatable = {"Environment", "SystemCallFilter", "DeviceAllow", "InaccessiblePaths"}
    names = re.findall(r"^([A-Z]\w+)=", unit.read_text(), re.MULTILINE)
    assert {name for name in names if names.count(name) > 1} <= repeatable
    parser.read(unit)
    assert parser.sections() == ["Unit", "Service", "Install"]
