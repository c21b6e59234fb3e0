import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from node.publisher.blockstore import BlockStore
from node.publisher.cid import parse_cid
from node.publisher.dag import Scope, walk
from node.publisher.unixfs import cid_of, import_path

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

IMPORT = """
import sys
from pathlib import Path
from node.publisher.blockstore import BlockStore
from node.publisher.unixfs import import_path
store = BlockStore(Path(sys.argv[1]), floor_bytes=0)
print("started", flush=True)
import_path(sys.argv[2], store)
"""


def test_an_import_killed_at_any_moment_leaves_no_half_block(tmp_path):
    rng = random.Random(7)
    (tmp_path / "video").write_bytes(os.urandom(40_000_000))
    cid = cid_of(tmp_path / "video")
    for number in range(10):
        root = tmp_path / f"store{number}"
        importer = subprocess.Popen(
            [sys.executable, "-c", IMPORT, str(root), str(tmp_path / "video")], stdout=subprocess.PIPE
        )
        with importer:
            importer.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.1))
            importer.send_signal(signal.SIGKILL)
        for path in root.rglob("blocks/*/*"):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
        store = BlockStore(root, floor_bytes=0)
        assert import_path(tmp_path / "video", store) == cid
        assert list((root / "tmp").iterdir()) == []
        assert sum(len(block) for _, block in walk(store, parse_cid(cid), Scope.ALL)) == store.stored_bytes()
