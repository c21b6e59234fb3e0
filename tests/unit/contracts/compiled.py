"""Contracts that only tests deploy, compiled from sources/ when first asked for."""

from functools import cache
from pathlib import Path
from typing import Any

from vyper.compiler import CompilerData
from vyper.compiler.input_bundle import FilesystemInputBundle
from vyper.compiler.output import build_abi_output

SOURCES = Path(__file__).parent / "sources"


@cache
def compiled(name: str) -> dict[str, Any]:
    """Return ABI and bytecode of one source."""
    bundle = FilesystemInputBundle([SOURCES])
    data = CompilerData(bundle.load_file(f"{name}.vy"), bundle)
    return {"abi": build_abi_output(data), "bytecode": data.bytecode.hex()}
