"""The Debian package: what is in it, and what its scripts do to a root of its own.

It is built with a small environment in place of the real one. ``scripts/chaos T22`` builds the real package
and installs it on a booted machine.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
COMMAND = """#!/usr/lib/sdv-node/bin/python -I
import sys
from pathlib import Path
match sys.argv[1:]:
    case ["completion", shell]:
        print("# completion of", shell)
    case ["man", "--dir", folder]:
        (Path(folder) / "sdv-node.1").write_text(".TH SDV-NODE 1")
    case _:
        sys.exit(2)
"""


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)


def built(environment: Path, out: Path) -> Path:
    done = run(ROOT / "scripts" / "package", "--models", "none", "--environment", environment, "--out", out)
    assert done.returncode == 0, done.stderr
    (package,) = out.glob("*.deb")
    return package


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    if shutil.which("dpkg-deb") is None or run("/usr/bin/python3", "-c", "import tomllib").returncode:
        pytest.skip("packages are built on Debian and Ubuntu, with Python 3.11 or 3.12")
    folder = tmp_path_factory.mktemp("environment") / "env"
    (folder / "bin").mkdir(parents=True)
    (folder / "lib" / "python3").mkdir(parents=True)
    (folder / "lib" / "python3" / "part.py").write_text("PART = 1\n")
    (folder / "bin" / "python").symlink_to(Path("/usr/bin/python3").resolve())
    (folder / "bin" / "sdv-node").write_text(COMMAND)
    (folder / "bin" / "sdv-node").chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def package(environment, tmp_path_factory):
    return built(environment, tmp_path_factory.mktemp("dist"))


@pytest.fixture
def machine(package, tmp_path):
    """A root that dpkg installs into, with its scripts told so by DPKG_ROOT."""
    if os.geteuid() != 0:
        pytest.skip("dpkg sets owners, which needs root")
    for folder in ("etc", "var/lib/dpkg/info", "var/lib/dpkg/updates", "usr/bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").touch()
    return Machine(tmp_path)


class Machine:
    def __init__(self, root: Path) -> None:
        self.root = root

    def dpkg(self, *arguments):
        force = ("--force-script-chrootless", "--force-depends", "--force-confold", "--no-triggers")
        done = run("dpkg", f"--root={self.root}", *force, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def at(self, path: str) -> Path:
        return self.root / path.removeprefix("/")

    def write(self, path: str, text: str = "x") -> Path:
        file = self.at(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_maintainer_script_is_plain_shell_and_stops_at_the_first_error(name):
    script = ROOT / "scripts" / "packaging" / "debian" / name
    assert script.read_text().startswith("#!/bin/sh\n")
    assert "\nset -e\n" in script.read_text()
    assert script.stat().st_mode & 0o777 == 0o755
    assert run("dash", "-n", script).stderr == ""


def test_the_control_file_says_what_is_needed_and_which_models_are_in_it(package):
    fields = dict(
        line.split(": ", 1)
        for line in run("dpkg-deb", "--field", package).stdout.splitlines()
        if line[0] != " "
    )
    python = Path("/usr/bin/python3").resolve().name
    assert fields["Package"] == "sdv-node"
    assert fields["Version"].endswith(f"+py{python.removeprefix('python').replace('.', '')}.none")
    assert fields["Depends"].split(", ")[0] == python
    assert package.name == f"sdv-node_{fields['Version']}_{fields['Architecture']}.deb"


def test_files_belong_to_root_and_lie_where_the_units_look_for_them(package):
    listed = run("dpkg-deb", "--contents", package).stdout.splitlines()
    files = {words[5].removeprefix("."): (words[0], words[1]) for line in listed if (words := line.split())}
    assert {owner for _, owner in files.values()} == {"root/root"}
    assert files["/etc/sdv-node/config.toml"][0] == "-rw-r-----"
    assert {mode for name, (mode, _) in files.items() if name.endswith((".service", ".conf"))} == {
        "-rw-r--r--"
    }
    wanted = {
        "/usr/bin/sdv-node",
        "/usr/lib/sdv-node/bin/sdv-node",
        "/usr/lib/systemd/system/sdv-node.service",
        "/usr/lib/systemd/system/sdv-node-worker@.service",
        "/usr/lib/sysusers.d/sdv-node.conf",
        "/usr/lib/tmpfiles.d/sdv-node.conf",
        "/usr/share/bash-completion/completions/sdv-node",
        "/usr/share/zsh/vendor-completions/_sdv-node",
        "/usr/share/fish/vendor_completions.d/sdv-node.fish",
        "/usr/share/man/man1/sdv-node.1.gz",
        "/usr/share/doc/sdv-node/install.md",
        "/usr/share/doc/sdv-node/copyright",
    }
    assert wanted - set(files) == set()
    assert [line for line in listed if "/usr/bin/sdv-node ->" in line]
    shipped = run("dpkg-deb", "--info", package, "conffiles").stdout.split()
    assert sorted(shipped) == sorted(name for name in files if name.startswith("/etc/") and name[-1] != "/")


def test_the_same_sources_give_the_same_bytes(package, environment, tmp_path):
    assert built(environment, tmp_path).read_bytes() == package.read_bytes()


def test_an_upgrade_keeps_what_the_operator_wrote_and_a_removal_keeps_it_too(machine, package):
    machine.dpkg("--install", package)
    assert "sdv-node-worker:" in machine.at("/etc/passwd").read_text()
    assert machine.at("/var/lib/sdv-node-worker/jobs").stat().st_mode & 0o7777 == 0o2770
    config = machine.write("/etc/sdv-node/config.toml", "[pricing]\nfloor = 2\n")
    machine.dpkg("--install", package)
    assert config.read_text() == "[pricing]\nfloor = 2\n"
    machine.dpkg("--remove", "sdv-node")
    assert config.exists()
    assert not machine.at("/usr/lib/sdv-node").exists()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/var/lib/sdv-node/journal.sqlite", ""),
        ("/var/lib/sdv-node/keystore.json", '{"crypto": {"ciphertext": "00"}}'),
        ("/var/lib/sdv-node/keys/UTC--2026--mine", '{"Crypto": {"CipherText": "00"}}'),
        ("/etc/sdv-node/mine", '{"crypto": {"ciphertext": "00"}}'),
    ],
    ids=["a journal", "a keystore", "a keystore of another name", "a keystore beside the settings"],
)
def test_a_purge_never_takes_money_away_and_says_so(machine, package, path, text):
    machine.dpkg("--install", package)
    money = machine.write(path, text)
    password = machine.write("/etc/sdv-node/keystore-password")
    cache = machine.write("/var/cache/sdv-node/kernel")
    told = machine.dpkg("--purge", "sdv-node")
    assert money.read_text() == text
    assert password.exists()
    assert not cache.exists()
    assert "has a keystore or a journal" in told
    assert f"rm -r {machine.root}/var/lib/sdv-node " in told


def test_a_purge_leaves_nothing_where_nothing_was_earned(machine, package):
    machine.dpkg("--install", package)
    machine.write("/var/lib/sdv-node/cache/x")
    machine.write("/var/lib/sdv-node-worker/models/x")
    machine.write("/etc/sdv-node/keystore-password")
    enabled = machine.write("/etc/systemd/system/multi-user.target.wants/sdv-node.service")
    machine.dpkg("--purge", "sdv-node")
    assert not enabled.exists()
    left = [path for path in machine.root.rglob("*sdv-node*") if "dpkg" not in path.parts]
    assert left == []


def test_what_scripts_install_put_there_is_not_written_over(machine, package):
    machine.write("/usr/bin/sdv-node")
    force = ("--force-script-chrootless", "--force-depends")
    done = run("dpkg", f"--root={machine.root}", *force, "--install", package)
    assert done.returncode != 0
    assert "scripts/install --uninstall" in done.stderr
    assert machine.at("/usr/bin/sdv-node").read_text() == "x"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--models", "rocm"), "none, cpu or cuda"),
        (("--modles", "cpu"), "unknown argument --modles"),
        (("--out",), "--out needs a value"),
    ],
)
def test_a_wrong_option_of_the_build_ends_with_two_and_says_what_is_allowed(arguments, told):
    done = run(ROOT / "scripts" / "package", *arguments)
    assert done.returncode == 2
    assert told in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--system", "--prefix", "sdv"), "an absolute path"),
        (("--sytem",), "unknown argument --sytem"),
        (("--system", "--models", "gpu"), "none, cpu or cuda"),
    ],
)
def test_a_wrong_option_of_the_installation_ends_with_two_before_anything_is_changed(arguments, told):
    done = run(ROOT / "scripts" / "install", *arguments)
    assert done.returncode == 2
    assert told in done.stderr
