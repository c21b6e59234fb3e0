"""The driver's library as the tests need it: built here with the C compiler, its GPUs described by a file."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("nvml_stub.c")
NAME = "libnvidia-ml.so.1"


def build(folder: Path, *flags: str, source: Path = SOURCE) -> Path:
    """Build libnvidia-ml.so.1 into a folder and return the folder."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.fail("no C compiler on this machine. Debian and Ubuntu: apt-get install gcc libc6-dev")
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / NAME
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), *flags, str(source)], check=True)
    return folder


class StubDriver:
    """GPUs that a test describes and changes while a process reads them: ``set(**{"0.temperature": 95})``."""

    def __init__(self, library: Path, description: Path) -> None:
        self._library = library
        self._description = description
        self._lines: dict[str, object] = {}
        self.set()

    def set(self, lines: dict[str, object] | None = None) -> None:
        """Change lines of the description; None takes a line away. Readers see the old or the new one."""
        self._lines.update(lines or {})
        text = "".join(f"{key}={value}\n" for key, value in self._lines.items() if value is not None)
        self.describe(text.encode())

    def clear(self) -> None:
        """Go back to one GPU with the defaults."""
        self._lines.clear()
        self.set()

    def describe(self, content: bytes) -> None:
        """Put any content in the place of the description."""
        fresh = self._description.with_suffix(".new")
        fresh.write_bytes(content)
        fresh.replace(self._description)

    @property
    def files(self) -> tuple[Path, Path]:
        """The library itself and the description."""
        return self._library / NAME, self._description

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process that shall find this driver."""
        return {
            **os.environ,
            "LD_LIBRARY_PATH": str(self._library),
            "NVML_STUB": str(self._description),
        }
