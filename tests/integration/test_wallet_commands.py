"""Keys come in and money goes out by commands, with the same words whether a node runs or not."""

import asyncio
import io
import json
import logging

import pytest
import structlog

from node.app.sandbox import Sandbox
from node.chain.devnet import PROVIDER, DevMarket, dev_key, dev_signer
from node.chain.keystore import DEVNET_SCRYPT_COST, create_keystore
from node.cli.main import main
from node.clock import SystemClock
from node.journal.database import Database
from node.journal.halts import Halts

pytestmark = pytest.mark.integration
TOKEN = 10**18
PAYOUT = "0x" + "77" * 20
OURS = dev_signer(PROVIDER).address


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    handlers = logging.getLogger().handlers[:]

    def call(*arguments):
        with pytest.raises(SystemExit) as exited:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return exited.value.code, captured.out, captured.err

    yield call
    # The commands' log would go on to write to a stream that is captured no longer.
    logging.getLogger().handlers = handlers
    structlog.reset_defaults()


@pytest.fixture
def cheap_scrypt(monkeypatch):
    def create(path, password, *, key=None):
        return create_keystore(path, password, key=key, scrypt_cost=DEVNET_SCRYPT_COST)

    monkeypatch.setattr("node.chain.keystore.create_keystore", create)


@pytest.fixture
def flags(fresh_devnet_url, tmp_path):
    """Flags of a provider with 10 tokens and 1 ether that pays out to PAYOUT."""

    async def prepare():
        market = DevMarket(fresh_devnet_url)
        await market.open()
        missing = 10 * TOKEN - await market.contracts.token_balance(OURS)
        await market.fund(OURS, token_wei=max(0, missing))
        await market.rpc.call("anvil_setBalance", [OURS, hex(TOKEN)])
        # On a chain that has been quiet for long the gas of three deals is less than that of one transfer.
        await market.rpc.call("anvil_setNextBlockBaseFeePerGas", [hex(10**9)])
        await market.mine()
        found = Sandbox(market).settings("provider", tmp_path / "provider")
        await market.close()
        return found

    settings = asyncio.run(prepare())
    settings["wallet"]["payout_address"] = PAYOUT
    merged = {f"{section}.{key}": value for section, keys in settings.items() for key, value in keys.items()}
    listed = {key: ",".join(value) for key, value in merged.items() if isinstance(value, list)}
    return [part for key, value in (merged | listed).items() for part in ("--set", f"{key}={value}")]


def money(fresh_devnet_url, account):
    async def read():
        market = DevMarket(fresh_devnet_url)
        await market.open()
        found = await market.contracts.token_balance(account), await market.chain.balance(account)
        await market.close()
        return found

    return asyncio.run(read())


def private(path, text):
    path.touch(mode=0o600)
    path.write_text(text)
    return path


KEY = dev_key(PROVIDER)


@pytest.mark.parametrize("how", ["file", "stdin", "keystore"])
def test_a_key_is_imported_and_opens_with_the_password_that_was_made(
    command, cheap_scrypt, tmp_path, how, monkeypatch
):
    if how == "keystore":
        create_keystore(tmp_path / "old.json", "old password", key=KEY, scrypt_cost=DEVNET_SCRYPT_COST)
        password = private(tmp_path / "old-password", "old password\n")
        source = (tmp_path / "old.json", "--source-password-file", password)
    elif how == "file":
        source = (private(tmp_path / "raw", KEY.hex()),)
    else:
        monkeypatch.setattr("sys.stdin", io.StringIO("0x" + KEY.hex() + "\n"))
        source = ("-",)
    data = tmp_path / "data"
    code, out, err = command("--data-dir", data, "wallet", "import", *source, "--json")
    assert code == 0, err
    made = json.loads(out)
    assert made["address"] == OURS
    assert (data / "keystore.json").stat().st_mode & 0o777 == 0o600
    assert KEY.hex() not in out + err + (data / "keystore.json").read_text()
    code, out, _ = command(
        "--data-dir",
        data,
        "--set",
        f"wallet.password_file={made['password_file']}",
        "doctor",
        "--quick",
        "--json",
    )
    assert {"wallet": "ok"}.items() <= {check["name"]: check["verdict"] for check in json.loads(out)}.items()


def test_a_key_is_never_taken_from_the_command_line(command, tmp_path):
    code, out, err = command("--data-dir", tmp_path, "wallet", "import", KEY.hex())
    assert code == 2
    assert "does not belong on the command line" in err
    assert KEY.hex() not in out + err
    assert not (tmp_path / "keystore.json").exists()


def test_a_key_file_that_others_can_read_is_not_imported(command, tmp_path):
    source = private(tmp_path / "raw", KEY.hex())
    source.chmod(0o644)
    code, _, err = command("--data-dir", tmp_path / "data", "wallet", "import", source)
    assert code == 2
    assert "mode 0644" in err
    assert not (tmp_path / "data" / "keystore.json").exists()


def test_an_existing_key_is_never_overwritten_by_an_import(command, cheap_scrypt, tmp_path):
    source = private(tmp_path / "raw", KEY.hex())
    assert command("--data-dir", tmp_path, "wallet", "import", source)[0] == 0
    code, _, err = command("--data-dir", tmp_path, "wallet", "import", source)
    assert code == 2
    assert "never overwritten" in err


def test_tokens_are_withdrawn_to_the_payout_address(command, flags, fresh_devnet_url):
    before = money(fresh_devnet_url, PAYOUT)[0]
    held = money(fresh_devnet_url, OURS)[0]
    code, out, err = command(*flags, "wallet", "withdraw", "2.5", "--json")
    assert code == 0, err
    assert json.loads(out)["to"] == PAYOUT
    assert money(fresh_devnet_url, PAYOUT)[0] == before + 25 * TOKEN // 10
    code, out, err = command(*flags, "wallet", "withdraw", "all")
    assert code == 0, err
    assert money(fresh_devnet_url, PAYOUT)[0] == before + held
    code, _, err = command(*flags, "wallet", "withdraw", "all")
    assert code == 1
    assert "nothing can be withdrawn" in err
    code, _, err = command(*flags, "wallet", "withdraw", "1")
    assert code == 1
    assert "the wallet holds 0" in err


def test_gas_money_is_withdrawn_but_for_what_deals_need(command, flags, fresh_devnet_url):
    before = money(fresh_devnet_url, PAYOUT)[1]
    code, _, err = command(*flags, "wallet", "withdraw", "1", "--gas")
    assert code == 4
    assert "the gas of 3 deals" in err
    code, out, err = command(*flags, "wallet", "withdraw", "all", "--gas", "--json")
    assert code == 0, err
    left, arrived = money(fresh_devnet_url, OURS)[1], money(fresh_devnet_url, PAYOUT)[1] - before
    assert arrived == int(json.loads(out)["amount_wei"]) > TOKEN // 2
    # Three deals of a million gas at a gwei or more.
    assert left > 3 * 10**6
    code, out, err = command(*flags, "wallet", "withdraw", "all", "--gas", "--force")
    assert code == 0, err
    assert money(fresh_devnet_url, OURS)[1] < left


@pytest.mark.parametrize(
    ("setting", "code", "words"), [("", 2, "set wallet.payout_address"), (OURS, 2, "lost")]
)
def test_without_a_place_to_pay_out_to_nothing_is_sent(command, flags, setting, code, words):
    ended, _, err = command(*flags, "--set", f"wallet.payout_address={setting}", "wallet", "withdraw", "1")
    assert ended == code
    assert words in err


@pytest.mark.parametrize("amount", ["-1", "1e99", "some", "0.0000000000000000001"])
def test_an_amount_that_is_none_is_a_usage_error(command, flags, amount):
    code, _, err = command(*flags, "wallet", "withdraw", "--", amount)
    assert code == 2
    assert "amount" in err.lower()


def test_an_allowance_above_the_hourly_cap_is_refused_with_rule_amount_and_cap(
    command, flags, fresh_devnet_url
):
    code, _, err = command(*flags, "--set", "policy.max_per_hour=50", "wallet", "approve", "51")
    assert code == 4
    assert all(word in err for word in ("max_per_hour", "51", "50"))
    assert command(*flags, "--set", "policy.max_per_hour=50", "wallet", "approve", "50")[0] == 0


def test_credentials_in_addresses_are_shown_by_no_command(command, tmp_path):
    settings = (
        "--set", "chain.rpc_urls=https://user:hunter2@rpc.example/v3/apikey4711,http://127.0.0.1:8545",
        "--set", "wallet.remote_signer=https://user:hunter2@signer.example:9000/token4712",
        "--set", f"wallet.address={OURS}",
    )  # fmt: skip
    for words in (("config", "show"), ("config", "show", "--json"), ("wallet", "show")):
        code, out, err = command(*settings, *words)
        assert code == 0, err
        assert "signer.example:9000" in out
        for secret in ("hunter2", "apikey4711", "token4712"):
            assert secret not in out + err


def test_a_halted_directory_signs_nothing_for_the_operator_either(command, flags, tmp_path):
    database = Database(tmp_path / "provider")
    asyncio.run(Halts(database, SystemClock()).write("another node uses the key"))
    database.close()
    for words in (("wallet", "approve", "5"), ("offer", "publish")):
        code, _, err = command(*flags, *words)
        assert code == 4
        assert "another node uses the key" in err
        assert "sdv-node resume" in err
