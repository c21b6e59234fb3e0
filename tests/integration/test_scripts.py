"""What the scripts say on a machine that lacks something."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]


def run(script, path):
    return subprocess.run(
        ["/bin/bash", str(ROOT / "scripts" / script)],
        capture_output=True,
        text=True,
        env={"PATH": str(path), "HOME": os.environ.get("HOME", "/")},
        timeout=60,
        check=False,
    )


@pytest.fixture
def bare_path(tmp_path):
    """A PATH with the shell's own tools and nothing else."""
    for tool in ("bash", "env", "dirname", "cat", "cksum", "tr", "cut", "sed", "head", "mktemp", "rm"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    return tmp_path


@pytest.mark.parametrize("script", ["demo", "install"])
def test_without_python_the_scripts_name_the_versions_and_the_packages(script, bare_path):
    done = run(script, bare_path)
    assert done.returncode == 1
    assert "Python 3.11 or 3.12 is needed" in done.stderr


@pytest.mark.parametrize("script", ["demo", "install"])
def test_without_node_the_scripts_say_what_to_install(script, bare_path):
    (bare_path / "python3.11").symlink_to(sys.executable)
    done = run(script, bare_path)
    assert done.returncode == 1
    assert "Node.js with npm is needed" in done.stderr
