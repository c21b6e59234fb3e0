"""What the self-check says of the embedded IPFS node."""

import errno
import os
import socket

import pytest

from node.app.control import control_socket
from node.app.ipfs import check_ipfs, embedded_node, ipfs_verbs
from node.config import load
from node.errors import Misconfigured
from node.journal.database import take_lock
from node.publisher.p2p.identity import load_or_create, peer_id_of

PEER = "12D3KooWJ12p4CUPtB49wvk5tfBNdTv2jL6DKpZSUEsX6opMPaMq"


def config(tmp_path, **ipfs):
    return load(environment={}, overrides={"node": {"data_dir": str(tmp_path)}, "ipfs": ipfs})


@pytest.fixture
def taken_port():
    with socket.create_server(("0.0.0.0", 0)) as other:
        yield other.getsockname()[1]


async def test_a_node_that_is_turned_off_is_a_warning_and_is_not_made(tmp_path):
    off = config(tmp_path, enabled=False)
    assert (await check_ipfs(off)).verdict == "warning"
    assert embedded_node(off, None) is None


async def test_free_ports_are_good_and_the_peer_id_is_told(tmp_path):
    peer_id = peer_id_of(load_or_create(tmp_path / "peer.key"))
    check = await check_ipfs(config(tmp_path, listen=["/ip4/0.0.0.0/tcp/0"]))
    assert check.verdict == "ok"
    assert peer_id in check.finding


async def test_loopback_alone_is_a_warning(tmp_path):
    assert (await check_ipfs(config(tmp_path, listen=["/ip4/127.0.0.1/tcp/0"]))).verdict == "warning"
    announced = config(tmp_path, listen=["/ip4/127.0.0.1/tcp/0"], announce=["/ip4/203.0.113.7/tcp/4001"])
    assert (await check_ipfs(announced)).verdict == "ok"


async def test_a_port_of_another_program_is_a_problem(tmp_path, taken_port):
    listen = f"/ip4/0.0.0.0/tcp/{taken_port}"
    check = await check_ipfs(config(tmp_path, listen=[listen]))
    assert check.verdict == "problem"
    assert f"{listen}: another program listens there" in check.finding
    assert "stop it, or set ipfs.listen" in check.remedy


async def test_a_busy_port_while_a_node_starts_in_the_same_directory_is_asked_for_again(tmp_path, taken_port):
    with take_lock(tmp_path):
        check = await check_ipfs(config(tmp_path, listen=[f"/ip4/0.0.0.0/tcp/{taken_port}"]))
    assert check.verdict == "warning"
    assert "ask again" in check.remedy


@pytest.mark.parametrize(
    ("number", "finding", "remedy"),
    [
        (errno.EADDRNOTAVAIL, "no such address", "ipfs.announce"),
        (errno.EACCES, "may not use that port", "1024"),
        (errno.EAFNOSUPPORT, "no IPv6", "/ip6"),
        (errno.ENOBUFS, os.strerror(errno.ENOBUFS), "ipfs.listen"),
    ],
)
async def test_whatever_keeps_the_node_from_listening_is_told_with_what_to_do(
    tmp_path, monkeypatch, number, finding, remedy
):
    class Refused(socket.socket):
        def bind(self, address):
            raise OSError(number, os.strerror(number))

    asked = config(tmp_path, listen=["/ip4/192.0.2.1/udp/443/quic-v1"])
    with monkeypatch.context() as patched:
        patched.setattr("node.app.ipfs.socket.socket", Refused)
        check = await check_ipfs(asked)
    assert check.verdict == "problem"
    assert "cannot listen on /ip4/192.0.2.1/udp/443/quic-v1: " in check.finding
    assert finding in check.finding
    assert remedy in check.remedy


class Told:
    """The embedded node as far as its status goes."""

    def __init__(self, **status):
        self._status = {
            "peer_id": PEER,
            "addresses": ["/ip4/203.0.113.7/tcp/4001"],
            "problem": None,
            "restarts": 0,
            "peers": 3,
            "bootstrap_problems": [],
        } | status

    async def status(self):
        return self._status


@pytest.mark.parametrize(
    ("status", "verdict", "finding"),
    [
        ({}, "ok", f"peer {PEER}, /ip4/203.0.113.7/tcp/4001, 3 peers"),
        ({"problem": "cannot listen on /ip4/0.0.0.0/tcp/4001"}, "problem", "not running: cannot listen on"),
        ({"bootstrap_problems": ["/dns/b was not reached"]}, "warning", "/dns/b was not reached"),
        ({"addresses": ["/ip4/127.0.0.1/tcp/4001"]}, "warning", "loopback only"),
    ],
)
async def test_a_node_that_runs_is_asked_and_believed_whatever_the_ports_look_like(
    tmp_path, taken_port, status, verdict, finding
):
    asked = config(tmp_path, listen=[f"/ip4/0.0.0.0/tcp/{taken_port}"])
    async with control_socket(tmp_path, ipfs_verbs(Told(**status)), on_fatal=pytest.fail):
        check = await check_ipfs(asked)
    assert check.verdict == verdict
    assert finding in check.finding


async def test_a_node_that_runs_without_its_peer_is_told(tmp_path):
    async with control_socket(tmp_path, ipfs_verbs(None), on_fatal=pytest.fail):
        check = await check_ipfs(config(tmp_path))
    assert check.verdict == "warning"
    assert "ipfs.enabled = false" in check.finding


async def test_a_node_that_cannot_tell_is_no_reason_to_guess(tmp_path, taken_port):
    asked = config(tmp_path, listen=[f"/ip4/0.0.0.0/tcp/{taken_port}"])
    async with control_socket(tmp_path, {}, on_fatal=pytest.fail):
        check = await check_ipfs(asked)
    assert check.verdict == "warning"
    assert "the same version" in check.finding


async def test_a_damaged_key_is_a_problem(tmp_path):
    (tmp_path / "peer.key").write_text("nonsense")
    (tmp_path / "peer.key").chmod(0o600)
    assert "damaged" in (await check_ipfs(config(tmp_path))).finding


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("listen", ["0.0.0.0:4001"]),
        ("listen", ["/ip4/0.0.0.0/udp/4001"]),
        ("listen", ["/ip4/0.0.0.0/tcp/99999"]),
        ("listen", ["/ip4/0.0.0.0/udp/70000/quic-v1"]),
        ("listen", ["/ip4/999.0.0.1/tcp/4001"]),
        ("listen", ["/dns/node.example/tcp/4001"]),
        ("announce", ["/unix/tmp/x"]),
        ("announce", ["/ip4/203.0.113.7/tcp/99999"]),
        ("bootstrap", ["/ip4/203.0.113.7/tcp/4001"]),
        ("bootstrap", ["/ip4/203.0.113.7/tcp/4001/p2p/notapeer"]),
    ],
)
def test_addresses_that_mean_nothing_are_refused_with_what_is_allowed(tmp_path, key, value):
    with pytest.raises(Misconfigured, match=f"ipfs.{key}.0: '{value[0]}'.*(allowed|end it with)"):
        config(tmp_path, **{key: value})


def test_a_node_that_listens_nowhere_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(Misconfigured, match=r"ipfs\.listen: .*name one, or set ipfs.enabled to false"):
        config(tmp_path, listen=[])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("listen", "/ip6/::1/tcp/0"),
        ("listen", "/ip4/0.0.0.0/udp/65535/quic-v1"),
        ("announce", "/dns4/node.example/tcp/4001"),
        ("bootstrap", f"/dns/node.example/tcp/4001/p2p/{PEER}"),
        ("bootstrap", "/ip4/203.0.113.7/udp/1/quic-v1/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN"),
    ],
)
def test_addresses_that_mean_something_are_taken(tmp_path, key, value):
    assert getattr(config(tmp_path, **{key: value}).ipfs, key) == (value,)
