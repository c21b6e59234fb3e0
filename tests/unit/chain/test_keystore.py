"""Keys on disk stay private, are never overwritten, and never show in words."""

import copy
import json
import pickle
import traceback
from pathlib import Path

import pytest

from node.chain.devnet import dev_key, dev_signer
from node.chain.keystore import (
    DEVNET_SCRYPT_COST,
    Password,
    WrongPassword,
    create_keystore,
    key_from_text,
    keystore_address,
    load_signer,
    read_key,
    read_password,
)
from node.chain.signer import LocalSigner
from node.errors import Fatal, Misconfigured

KEY = dev_key(4)
ADDRESS = "0x15d34aaf54267db7d7c367839aaf71a00a2c6a65"
PASSWORD = "correct horse battery staple"


@pytest.fixture
def keystore(tmp_path: Path) -> Path:
    path = tmp_path / "key.json"
    create_keystore(path, PASSWORD, key=KEY, scrypt_cost=DEVNET_SCRYPT_COST)
    return path


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    path.chmod(0o600)
    return path


def test_a_key_comes_back_from_its_keystore(keystore: Path, password_file: Path):
    assert load_signer(keystore, read_password(password_file)).address == ADDRESS


def test_a_keystore_is_private_from_the_start_and_holds_no_plain_key(keystore: Path):
    assert keystore.stat().st_mode & 0o777 == 0o600
    assert KEY.hex() not in keystore.read_text().lower()


def test_the_address_is_readable_without_the_password(keystore: Path):
    assert keystore_address(keystore) == ADDRESS


def test_a_new_key_is_new_each_time(tmp_path: Path):
    first = create_keystore(tmp_path / "a.json", PASSWORD, scrypt_cost=DEVNET_SCRYPT_COST)
    assert first != create_keystore(tmp_path / "b.json", PASSWORD, scrypt_cost=DEVNET_SCRYPT_COST)


def test_a_key_is_never_overwritten(keystore: Path):
    before = keystore.read_bytes()
    with pytest.raises(Misconfigured, match="never overwritten"):
        create_keystore(keystore, PASSWORD, scrypt_cost=DEVNET_SCRYPT_COST)
    assert keystore.read_bytes() == before


def test_an_empty_password_is_refused(tmp_path: Path):
    with pytest.raises(Misconfigured, match="password is empty"):
        create_keystore(tmp_path / "a.json", "", scrypt_cost=DEVNET_SCRYPT_COST)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o601])
@pytest.mark.parametrize("which", ["keystore", "password file"])
def test_a_file_that_others_can_use_is_refused(keystore: Path, password_file: Path, mode: int, which: str):
    path = keystore if which == "keystore" else password_file
    path.chmod(mode)
    with pytest.raises(Misconfigured, match=f"{which} .* has mode {mode:04o}.*chmod 600"):
        load_signer(keystore, read_password(password_file))


def test_a_wrong_password_is_named_and_shows_neither_password_nor_key(keystore: Path, password_file: Path):
    password_file.write_text("wrong-password-text")
    with pytest.raises(Misconfigured, match="does not open") as caught:
        load_signer(keystore, read_password(password_file))
    text = "".join(traceback.format_exception(caught.value))
    assert "wrong-password-text" not in text
    assert caught.value.__context__ is None


def test_ten_wrong_passwords_are_each_refused_in_the_same_words_and_the_right_one_still_opens(keystore: Path):
    said = set()
    for number in range(10):
        with pytest.raises(WrongPassword) as caught:
            load_signer(keystore, Password(f"wrong-{number}", "what was typed"))
        said.add("".join(traceback.format_exception_only(caught.value)))
    assert len(said) == 1
    assert "wrong-" not in said.pop()
    assert load_signer(keystore, Password(PASSWORD, "what was typed")).address == ADDRESS


def test_missing_and_broken_files_are_named(tmp_path: Path, keystore: Path, password_file: Path):
    with pytest.raises(Misconfigured, match="cannot be read"):
        load_signer(tmp_path / "none.json", read_password(password_file))
    with pytest.raises(Misconfigured, match="cannot be read"):
        read_password(tmp_path / "none")
    keystore.write_text("{")
    with pytest.raises(Misconfigured, match="is not JSON"):
        load_signer(keystore, read_password(password_file))
    keystore.write_text("[]")
    with pytest.raises(Misconfigured, match="not a version 3 keystore"):
        load_signer(keystore, read_password(password_file))
    keystore.write_bytes(b"\xff" * 10)
    with pytest.raises(Misconfigured, match="not UTF-8"):
        load_signer(keystore, read_password(password_file))
    keystore.write_text(" " * 20_000)
    with pytest.raises(Misconfigured, match="larger than"):
        load_signer(keystore, read_password(password_file))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("n", 2**40, "scrypt cost"),
        ("n", "many", "scrypt cost"),
        ("n", -1, "scrypt cost"),
        ("r", 2**30, "block size"),
        ("p", 2**30, "parallelism"),
        ("dklen", 2**30, "derived key"),
        ("c", 2**40, "PBKDF2"),
        ("salt", 5, "version 3 keystore"),
    ],
)
def test_a_hostile_keystore_is_refused(keystore: Path, password_file: Path, field: str, value, words: str):
    content = json.loads(keystore.read_text())
    content["crypto"]["kdfparams"][field] = value
    keystore.write_text(json.dumps(content))
    with pytest.raises(Misconfigured, match=words):
        load_signer(keystore, read_password(password_file))


def test_a_keystore_that_names_another_account_is_refused(keystore: Path, password_file: Path):
    content = json.loads(keystore.read_text())
    content["address"] = "0x" + "11" * 20
    keystore.write_text(json.dumps(content))
    with pytest.raises(Misconfigured, match="holds the key of"):
        load_signer(keystore, read_password(password_file))


@pytest.mark.parametrize("how", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_signer_cannot_leave_the_process(how):
    with pytest.raises(TypeError, match="private key"):
        how(dev_signer(4))


def test_a_signer_shows_its_address_and_nothing_else():
    signer = dev_signer(4)
    assert f"{signer!r} {signer}" == f"LocalSigner({ADDRESS}) LocalSigner({ADDRESS})"
    assert not hasattr(signer, "__dict__")


@pytest.mark.parametrize("key", [b"", bytes(32), b"\xff" * 32, b"\x01" * 31])
def test_an_impossible_key_is_refused_without_showing_it(key: bytes):
    with pytest.raises(Fatal) as caught:
        LocalSigner(key)
    assert caught.value.__context__ is None
    assert (key.hex() or "no key") not in str(caught.value)


def test_the_development_accounts_are_the_published_ones():
    assert [dev_signer(account).address for account in range(6)] == [
        "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266",
        "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
        "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
        "0x90f79bf6eb2c4f870365e785982e1f101e93b906",
        "0x15d34aaf54267db7d7c367839aaf71a00a2c6a65",
        "0x9965507d1a55bcc2695c58ba16fb37d819b0a4dc",
    ]


def test_a_file_in_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(Misconfigured, match="cannot be written"):
        create_keystore(tmp_path / "none" / "a.json", PASSWORD, scrypt_cost=DEVNET_SCRYPT_COST)
    assert list(tmp_path.iterdir()) == []


def never_asked() -> Password:
    raise AssertionError("no password is needed")


def typed() -> Password:
    return Password(PASSWORD, "the password that was typed")


def private_file(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


@pytest.mark.parametrize("text", [KEY.hex(), "0x" + KEY.hex(), "0X" + KEY.hex().upper(), f"  {KEY.hex()}\n"])
def test_a_raw_key_is_read_from_a_file(tmp_path: Path, text: str):
    assert read_key(private_file(tmp_path / "raw", text), never_asked) == KEY


def test_a_key_is_read_from_another_keystore_with_its_password(keystore: Path):
    assert read_key(keystore, typed) == KEY
    with pytest.raises(Misconfigured, match="the password that was typed does not open"):
        read_key(keystore, lambda: Password("wrong", "the password that was typed"))


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path):
    path = private_file(tmp_path / "raw", KEY.hex())
    path.chmod(0o640)
    with pytest.raises(Misconfigured, match=r"key file .* has mode 0640"):
        read_key(path, never_asked)


@pytest.mark.parametrize(
    "text",
    ["", KEY.hex()[:-1], KEY.hex() + "0", "g" * 64, "\uff11" * 64, "{", "[" * 9000, "0" * 64, "f" * 64],
)
def test_what_is_no_key_is_refused_without_being_shown(text: str):
    with pytest.raises(Misconfigured) as caught:
        key_from_text(text, Path("it"), never_asked)
    shown = "".join(traceback.format_exception(caught.value))
    assert not text or len(text) < 2 or text not in shown


def test_a_password_shows_its_source_and_never_leaves():
    password = typed()
    assert repr(password) == "Password(the password that was typed)"
    assert PASSWORD not in f"{password!r} {password}"
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="password"):
            leave(password)


def test_a_service_credential_may_show_the_bits_of_its_access_list(password_file: Path):
    password_file.chmod(0o440)
    assert read_password(password_file, service_credential=True).reveal() == PASSWORD
    password_file.chmod(0o444)
    with pytest.raises(Misconfigured, match="mode 0444"):
        read_password(password_file, service_credential=True)
