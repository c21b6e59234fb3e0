"""A node is the same peer after every restart, and its key is nobody else's."""

import base64
import stat

import pytest

from node.errors import Misconfigured
from node.publisher.p2p.identity import load_or_create, peer_id_of


def test_the_peer_id_stays_the_same(tmp_path):
    path = tmp_path / "deep" / "peer.key"
    first = peer_id_of(load_or_create(path))
    assert first.startswith("12D3KooW")
    assert peer_id_of(load_or_create(path)) == first
    assert peer_id_of(load_or_create(tmp_path / "other.key")) != first


def test_the_key_file_is_its_owners_and_nothing_is_left_beside_it(tmp_path):
    load_or_create(tmp_path / "peer.key")
    assert stat.S_IMODE((tmp_path / "peer.key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["peer.key"]


def test_a_key_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "peer.key"
    load_or_create(path)
    path.chmod(0o640)
    with pytest.raises(Misconfigured, match="chmod 600"):
        load_or_create(path)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"AAAA\n", base64.b64encode(bytes(9000)), b"CAESIA=="])
def test_a_damaged_key_is_refused_without_being_told(tmp_path, content):
    path = tmp_path / "peer.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(Misconfigured, match="damaged") as refused:
        load_or_create(path)
    assert refused.value.__suppress_context__
    if content:
        assert content.decode().strip() not in str(refused.value)
    assert path.read_bytes() == content


def test_a_link_in_place_of_the_key_is_not_followed(tmp_path):
    load_or_create(tmp_path / "real.key")
    (tmp_path / "peer.key").symlink_to(tmp_path / "real.key")
    with pytest.raises(Misconfigured, match="cannot be read"):
        load_or_create(tmp_path / "peer.key")
