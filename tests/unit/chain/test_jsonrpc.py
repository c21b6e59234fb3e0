"""An answer of any shape is read or refused; none ends the process."""

import json
import subprocess
import sys

import pytest

from node.chain.hexadecimal import BadReply
from node.chain.jsonrpc import parse

NESTED = ("b'[' * 200_000", "b'{\"a\":' * 200_000", "b'[\"]\",' * 200_000")


@pytest.mark.parametrize("written", NESTED)
def test_an_answer_nested_deeper_than_the_stack_bears_is_refused(written):
    # Its own process: were it not refused, the process would end without a word.
    script = (
        "import py_ecc\n"
        "from node.chain.hexadecimal import BadReply\n"
        "from node.chain.jsonrpc import parse\n"
        f"try: parse({written}, name='endpoint', method='eth_call')\n"
        "except BadReply: print('refused')\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, "refused"), ran.stderr


@pytest.mark.parametrize("count", [3, 30_000])
def test_an_answer_of_many_objects_side_by_side_is_read(count):
    answer = {"jsonrpc": "2.0", "id": 1, "result": [{"data": "]}"}] * count}
    assert parse(json.dumps(answer).encode(), name="endpoint", method="eth_getLogs") == answer
    assert parse(json.dumps(answer), name="endpoint", method="eth_getLogs") == answer


def test_text_that_is_no_json_is_refused_by_name():
    with pytest.raises(BadReply, match="endpoint answered eth_call"):
        parse(b"<html>", name="endpoint", method="eth_call")
