"""A journal on a clock that only the test moves."""

import pytest

from node.journal.database import Database
from node.journal.journal import Journal
from tests.fakes.clock import FakeClock


@pytest.fixture
def journal(database: Database) -> Journal:
    """The journal in ``database``."""
    return Journal(database, FakeClock())
