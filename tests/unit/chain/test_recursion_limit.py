import subprocess
import sys

import pytest

NESTED = """
import json, sys
import node.app
try:
    json.loads("[" * 100_000)
except RecursionError:
    print("refused", sys.getrecursionlimit())
"""


@pytest.mark.slow
def test_hostile_nesting_raises_in_a_process_that_imported_everything():
    answer = subprocess.run([sys.executable, "-c", NESTED], capture_output=True, text=True, check=False)
    assert answer.stdout == "refused 1000\n", (answer.returncode, answer.stderr)
