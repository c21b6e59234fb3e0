import pytest

from node.config import load
from node.errors import Misconfigured

PINATA = {"name": "pinata", "endpoint": "https://api.example/psa", "token_file": "/etc/token"}


def ipfs(**settings):
    return load(environment={}, overrides={"ipfs": settings}).ipfs


def test_by_default_results_are_kept_and_read_back_here_only():
    found = ipfs()
    assert (found.copies_required, found.read_back, found.kubo, found.pinning) == (1, "required", (), ())


def test_one_kubo_is_a_table_and_several_are_a_list(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('[ipfs.kubo]\napi = "/ip6/::1/tcp/5001/http"\n')
    assert [one.api for one in load(file, environment={}).ipfs.kubo] == ["http://[::1]:5001"]
    file.write_text(
        '[[ipfs.kubo]]\nname = "a"\napi = "/dns/a/tcp/1"\n[[ipfs.kubo]]\nname="b"\napi="https://b"\n'
    )
    assert [one.api for one in load(file, environment={}).ipfs.kubo] == ["http://a:1", "https://b"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"quota_gb": 1e-10},
            "ipfs.quota_gb: 1e-10 is too small: allowed are 0 (no bound) and 0.001 or",
        ),
        ({"copies_required": 0}, "ipfs.copies_required"),
        ({"copies_required": 2}, "copies_required is 2, the node and its targets make 1"),
        ({"copies_required": 2, "pinning": [PINATA]}, "counts only with a gateway"),
        ({"read_back": "never"}, "ipfs.read_back"),
        ({"gateways": "ftp://x"}, "ipfs.gateways.0: an address here begins with http"),
        ({"kubo": {"api": "5001"}}, "ipfs.kubo.0.api"),
        ({"kubo": {"api": "/ip4/127.0.0.1/udp/5001"}}, "a Kubo API is an address such as"),
        ({"kubo": {"api": "/ip4/127.0.0.1/tcp/70000"}}, "a Kubo API is an address such as"),
        ({"kubo": {"api": "http://x", "name": "node"}}, "is not 'node'"),
        ({"kubo": [{"api": "http://x"}, {"api": "http://y"}]}, "have one name"),
        ({"kubo": {"api": "http://127.0.0.1:1", "user": "u"}}, "user and password_file belong together"),
        ({"kubo": {"api": "http://10.0.0.1:1", "token_file": "/t"}}, "only over https"),
        ({"pinning": [PINATA | {"endpoint": "http://api.example"}]}, "only over https"),
        ({"pinning": [PINATA | {"token_file": ""}]}, "ipfs.pinning.0.token_file"),
        ({"pinning": [PINATA | {"origins": ["1.2.3.4:4001"]}]}, "an origin is a multiaddress"),
        ({"pinning": [PINATA | {"token": "abc"}]}, "ipfs.pinning.0.token: there is no such setting"),
    ],
)
def test_what_is_wrong_with_a_target_is_named(settings, told):
    with pytest.raises(Misconfigured) as refused:
        ipfs(**settings)
    assert told in str(refused.value)


def test_a_secret_in_an_address_is_refused_without_being_repeated():
    with pytest.raises(Misconfigured) as refused:
        ipfs(kubo={"api": "https://alice:hunter2@kubo.example"}, gateways=["https://x/?key=hunter2"])
    assert "hunter2" not in str(refused.value)


def test_a_targets_word_is_enough_where_reading_back_is_best_effort():
    assert ipfs(copies_required=2, read_back="best_effort", pinning=[PINATA]).copies_required == 2


def test_a_quota_of_nothing_is_no_bound():
    assert ipfs(quota_gb=0).quota_bytes is None
    assert ipfs(quota_gb=0.001).quota_bytes == 10**6
