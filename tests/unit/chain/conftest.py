"""What the tests of sending share."""

import pytest

from tests.fakes.sending import World


@pytest.fixture
def world() -> World:
    return World()
