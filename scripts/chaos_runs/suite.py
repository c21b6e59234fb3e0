"""Tests of the programme that live in the test suite: run by pytest, counted from its report."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree as ET

from scripts.chaos_runs.programme import Selection
from scripts.chaos_runs.record import Record, machine

ROOT = Path(__file__).resolve().parents[2]
ALL_PASSED, SOME_FAILED = 0, 1


def run_selection(selection: Selection, size: str, command: str) -> Record:
    """Run the selected tests and return how many cases there were and which failed."""
    print(f"{selection.name}: {' '.join(selection.paths)}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *selection.paths],
            cwd=ROOT,
            check=False,
        )
        if done.returncode not in {ALL_PASSED, SOME_FAILED}:
            raise SystemExit(f"{selection.name}: pytest ended with {done.returncode}, see its output above")
        # Written by our own pytest a moment ago.
        told = ET.parse(report).getroot().iter("testcase")  # noqa: S314
        cases = [case for case in told if case.find("skipped") is None]
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    return Record(
        test=selection.name,
        what=selection.what,
        size=size,
        runs=len(cases),
        failures=len(failed),
        failed=[str(case.get("name")) for case in failed],
        seconds=round(time.monotonic() - began),
        command=command,
        machine=machine(),
    )
