"""What the tests with IPFS peers have in common."""

import gc
import warnings

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if "integration/ipfs" in item.path.as_posix():
            # py-libp2p leaves the sockets of connections that broke to the garbage collector.
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"))


@pytest.fixture(autouse=True)
def sockets_left_by_libp2p():
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
