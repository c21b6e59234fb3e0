import pytest

from node.cli.main import main
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
        ({"chian": {"rpc_urls": "x"}}, "chian"),
        ({"pricing": {"floor": "-1"}}, "pricing.floor"),
        ({"pricing": {"floor": "0.0000000000000000001"}}, "pricing.floor"),
        ({"pricing": {"floor": "NaN"}}, "pricing.floor"),
        ({"chain": {"controller": "0x12"}}, "chain.controller"),
        ({"market": {"mediators": ["0x" + "zz" * 20]}}, "market.mediators"),
        ({"http": {"port": 70000}}, "http.port"),
        ({"http": {"public_url": "javascript:alert"}}, "http.public_url.*http:// or https://"),
        ({"http": {"public_url": "http://"}}, "http.public_url"),
        ({"http": {"public_url": "https://user:secret@host/"}}, "http.public_url.*without user"),
        ({"worker": {"gpus": ["nvidia"]}}, "worker.gpus.0.*index such as 0"),
        ({"worker": {"gpus": "0,0"}}, "worker.gpus.*twice"),
        ({"worker": {"slots": 0}}, "worker.slots"),
        ({"worker": {"backend": "dask"}}, "worker.backend"),
        ({"requester": {"check": "sometimes"}}, "requester.check.*never, always or a share"),
        ({"requester": {"check": "1.5"}}, "requester.check.*from 0 to 1"),
        ({"requester": {"check_by": "friend"}}, "requester.check_by"),
        ({"mediator": {"margin_s": -1}}, "mediator.margin_s"),
        ({"worker": {"ray": {"resources": ["GPU=1"]}}}, "worker.ray.resources.0.*sdv-1.1=1"),
        ({"worker": {"ray": {"adress": "auto"}}}, "worker.ray.adress.*no such setting"),
        ({"worker": {"sockets": ["worker.sock"]}}, "worker.sockets.0.*absolute"),
        ({"worker": {"sockets": "/" + "x" * 107}}, "worker.sockets.0.*107 bytes"),
        ({"chain": {"network": "mainnet"}}, "chain.network"),
        ({"chain": {"rpc_urls": ["ftp://x"]}}, "chain.rpc_urls"),
        ({"chain": {"rpc_urls": "http://x,x:8545"}}, "chain.rpc_urls.1"),
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
    config = load(
        environment={}, overrides={"chain": {"network": "arbitrum-sepolia", "rpc_urls": ["http://x"]}}
    )
    assert (config.chain.chain_id, config.chain.rpc_urls) == (421614, ("http://x",))
    assert config.chain.controller == "0x4a83270045fb4bcd1bdfe1bd6b00762a9d8bbf4e"


def test_a_network_gives_all_its_endpoints():
    config = load(environment={}, overrides={"chain": {"network": "devnet"}})
    assert config.chain.rpc_urls == ("http://127.0.0.1:8545",)


def test_a_bad_endpoint_is_refused_without_repeating_its_key():
    with pytest.raises(Misconfigured) as refused:
        load(environment={}, overrides={"chain": {"rpc_urls": ["gopher://alice:hunter2@x/secret-key"]}})
    assert "http://" in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert "secret-key" not in str(refused.value)


@pytest.mark.parametrize("overrides", [{}, {"chain": {"rpc_urls": "http://x, wss://y"}}])
def test_endpoints_come_as_one_text_with_commas(overrides):
    environment = {"SDV_NODE__CHAIN__RPC_URLS": "http://x,wss://y"}
    assert load(environment=environment, overrides=overrides).chain.rpc_urls == ("http://x", "wss://y")


def test_lists_come_from_the_environment_with_commas():
    environment = {"SDV_NODE__MARKET__MEDIATORS": ",".join(["0x" + "11" * 20, "0x" + "22" * 20])}
    assert len(load(environment=environment).market.mediators) == 2


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(Misconfigured, match="does not exist"):
        load(tmp_path / "none.toml", environment={})


@pytest.mark.parametrize(
    ("mediators", "told"), [(["0x" + "11" * 20] * 2, "named twice"), (["0x" + "00" * 20], "zero address")]
)
def test_judges_are_distinct_accounts(mediators, told):
    with pytest.raises(Misconfigured, match=told):
        load(environment={}, overrides={"market": {"mediators": mediators}})


def test_a_wrong_setting_is_told_in_plain_words():
    with pytest.raises(Misconfigured) as told:
        load(environment={}, overrides={"foo": {"bar": 1}, "pricing": {"floor": "nan"}})
    assert "foo: there is no such setting" in str(told.value)
    assert "pricing.floor: an amount lies between" in str(told.value)


@pytest.mark.parametrize(
    "amount", ["1." + "0" * 30 + "1", "0.0000000000000000001", "1e-999999", "1e-9999999"]
)
def test_no_amount_is_rounded(amount):
    with pytest.raises(Misconfigured, match="at most 18 decimals"):
        load(environment={}, overrides={"pricing": {"floor": amount}})


def test_every_amount_is_shown_whole_exactly_and_in_its_own_token(capsys):
    exact = "123456789.123456789123456789"
    with pytest.raises(SystemExit):
        main(
            [
                *("--set", f"admission.max_unpaid_unknown={exact}"),
                *("--set", f"policy.max_gas_per_hour={exact}"),
                *("config", "show"),
            ]
        )
    shown = capsys.readouterr().out
    assert f"max_unpaid_unknown = {exact} tokens" in shown
    assert f"max_gas_per_hour = {exact} of the gas token" in shown
    assert "000000000000" not in shown


def test_a_section_inside_a_section_is_set_key_by_key(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('[worker.ray]\nworkers = 3\nnamespace = "mine"\n')
    found = load(file, environment={"SDV_NODE__WORKER__RAY__WORKERS": "4"}).worker.ray
    assert (found.workers, found.namespace, found.address) == (4, "mine", "auto")
