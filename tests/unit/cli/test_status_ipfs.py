"""The status tells other nodes' operators how to reach this one."""

from node.cli.status import show_status

RUNNING = {
    "enabled": True,
    "peer_id": "12D3KooWPeer",
    "addresses": ["/ip4/203.0.113.7/tcp/4001/p2p/12D3KooWPeer"],
    "problem": None,
    "peers": 3,
    "served_blocks": 17,
}


def shown(ipfs, capsys):
    show_status({"version": "1", "accepting": True, "ipfs": ipfs}, "http://x")
    return capsys.readouterr().out


def test_a_running_node_shows_its_peer_id_and_addresses(capsys):
    text = shown(RUNNING, capsys)
    assert "12D3KooWPeer, 3 peers, 17 blocks served" in text
    assert "/ip4/203.0.113.7/tcp/4001" in text


def test_what_peers_wait_for_is_shown_if_they_wait(capsys):
    text = shown(RUNNING | {"waiting_wants": 2}, capsys)
    assert "17 blocks served, 2 asked for that are not here" in text
    assert "asked for" not in shown(RUNNING | {"waiting_wants": 0}, capsys)


def test_a_node_that_is_down_shows_why(capsys):
    text = shown(RUNNING | {"addresses": [], "problem": "cannot listen on /ip4/0.0.0.0/tcp/4001"}, capsys)
    assert "not running: cannot listen on /ip4/0.0.0.0/tcp/4001" in text


def test_bootstrap_peers_that_are_not_reached_are_shown(capsys):
    text = shown(RUNNING | {"bootstrap_problems": ["/ip4/1.2.3.4/tcp/1 was not reached"]}, capsys)
    assert "bootstrap: /ip4/1.2.3.4/tcp/1 was not reached" in text


def test_a_node_that_is_turned_off_shows_nothing(capsys):
    assert "IPFS" not in shown({"enabled": False}, capsys)
