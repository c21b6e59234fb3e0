"""A database in a directory of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.journal.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database in ``tmp_path``."""
    opened = Database(tmp_path)
    yield opened
    opened.close()
