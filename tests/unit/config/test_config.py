import pytest

from node.config import load
from node.errors import Misconfigured


def test_flags_go_before_environment_before_file_before_defaults(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('[pricing]\nfloor = "2"\nper_job = "2"\nmediation_fee = "2"\n')
    environment = {"SDV_NODE__PRICING__PER_JOB": "3", "SDV_NODE__PRICING__MEDIATION_FEE": "3"}
    config = load(file, environment=environment, overrides={"pricing": {"mediation_fee": "4"}})
    token = 10**18
    assert (config.pricing.floor, config.pricing.per_job) == (2 * token, 3 * token)
    assert (config.pricing.mediation_fee, config.pricing.per_step) == (4 * token, 0)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"chain": {"rpc": "x"}}, "chain.rpc"),
        ({"chian": {"rpc_url": "x"}}, "chian"),
        ({"pricing": {"floor": "-1"}}, "pricing.floor"),
        ({"pricing": {"floor": "0.0000000000000000001"}}, "pricing.floor"),
        ({"pricing": {"floor": "NaN"}}, "pricing.floor"),
        ({"chain": {"controller": "0x12"}}, "chain.controller"),
        ({"market": {"mediators": ["0x" + "zz" * 20]}}, "market.mediators"),
        ({"http": {"port": 70000}}, "http.port"),
        ({"chain": {"network": "mainnet"}}, "chain.network"),
    ],
)
def test_a_bad_setting_is_named(overrides, named):
    with pytest.raises(Misconfigured, match=named):
        load(environment={}, overrides=overrides)


def test_every_bad_setting_is_named_at_once():
    with pytest.raises(Misconfigured) as refused:
        load(environment={}, overrides={"http": {"port": -1}, "pricing": {"floor": "x"}})
    assert "http.port" in str(refused.value)
    assert "pricing.floor" in str(refused.value)


def test_a_network_gives_what_is_not_set_otherwise():
    config = load(environment={}, overrides={"chain": {"network": "arbitrum-sepolia", "rpc_url": "http://x"}})
    assert (config.chain.chain_id, config.chain.rpc_url) == (421614, "http://x")
    assert config.chain.controller == "0x4a83270045fb4bcd1bdfe1bd6b00762a9d8bbf4e"


def test_lists_come_from_the_environment_with_commas():
    environment = {"SDV_NODE__MARKET__MEDIATORS": ",".join(["0x" + "11" * 20, "0x" + "22" * 20])}
    assert len(load(environment=environment).market.mediators) == 2


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(Misconfigured, match="does not exist"):
        load(tmp_path / "none.toml", environment={})
