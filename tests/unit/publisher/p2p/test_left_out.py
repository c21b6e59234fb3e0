"""What libp2p would load for discovery and certificates that are switched off is not loaded."""

import subprocess
import sys
from importlib import import_module

import pytest

from node.publisher.p2p.left_out import LEFT_OUT

LOADED = """
import sys, node.app, node.publisher.p2p.service
print(*{"zeroconf", "requests", "httpx", "urllib3", "charset_normalizer"} & sys.modules.keys())
"""


def test_a_node_with_its_peer_loads_neither_the_mdns_stack_nor_http_clients_of_libp2p():
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(("module", "names"), LEFT_OUT.items())
def test_libp2p_still_has_what_was_left_out_and_whoever_uses_ours_is_told(module, names):
    stand_in = import_module(module)
    for name in names:
        with pytest.raises(NotImplementedError, match=name):
            getattr(stand_in, name)()
