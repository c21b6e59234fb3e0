"""Tokens and addresses of hubs: found where they may be, shown nowhere, refused in words."""

import pytest

from node.errors import Fatal, Misconfigured
from node.pipeline.weights.first_use import FirstUse
from node.pipeline.weights.hub import Hub, check_endpoint
from node.pipeline.weights.local import parse_single_files
from node.pipeline.weights.secrets import find_token

SECRET = "hf_secretsecret"


def token_file(tmp_path, content=SECRET, mode=0o600):
    path = tmp_path / "token"
    path.write_text(content)
    path.chmod(mode)
    return path


def test_a_token_comes_from_a_file_before_a_credential_before_the_environment(tmp_path):
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    credential = credentials / "huggingface-token"
    credential.write_text("hf_credential\n")
    credential.chmod(0o400)
    environment = {"CREDENTIALS_DIRECTORY": str(credentials), "HF_TOKEN": "hf_environment"}
    assert find_token(token_file(tmp_path), environment).text == SECRET
    assert find_token(None, environment).text == "hf_credential"
    del environment["CREDENTIALS_DIRECTORY"]
    assert find_token(None, environment).text == "hf_environment"
    assert find_token(None, {}) is None


def test_a_token_is_in_no_repr(tmp_path):
    assert SECRET not in repr(find_token(token_file(tmp_path), {}))


@pytest.mark.parametrize("content", ["", "two words", "x" * 600, "hf_ä", "hf_\x07secretsecret"])
def test_what_cannot_be_a_token_is_refused_without_being_shown(tmp_path, content):
    with pytest.raises(Misconfigured, match="does not hold a token") as refusal:
        find_token(token_file(tmp_path, content), {})
    assert "secret" not in str(refusal.value)


def test_a_token_that_others_can_read_is_refused(tmp_path):
    with pytest.raises(Misconfigured, match="chmod 600"):
        find_token(token_file(tmp_path, mode=0o644), {})


def test_a_missing_token_file_is_named(tmp_path):
    with pytest.raises(Misconfigured, match="none cannot be read"):
        find_token(tmp_path / "none", {})


@pytest.mark.parametrize(
    "address",
    ["huggingface.co", "ftp://hub", "https://", "https://user:secret@hub", "https://hub/?token=secret"],
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused(address):
    with pytest.raises(Misconfigured) as refusal:
        check_endpoint(address, None)
    assert "secret" not in str(refusal.value)


def test_a_token_goes_over_https_or_stays_on_this_machine(tmp_path):
    token = find_token(token_file(tmp_path), {})
    assert check_endpoint("https://mirror.example/", token) == "https://mirror.example"
    assert check_endpoint("http://127.0.0.1:8000", token) == "http://127.0.0.1:8000"
    assert check_endpoint("http://mirror.example", None)
    with pytest.raises(Misconfigured, match="plain http"):
        Hub("http://mirror.example", token)


def test_single_files_are_named_by_what_they_are_for(tmp_path):
    found = parse_single_files((f"still={tmp_path}/a=b.safetensors", "clip=c.safetensors"))
    assert str(found["still"]) == f"{tmp_path}/a=b.safetensors"
    assert found["clip"].is_absolute()


@pytest.mark.parametrize("given", [("still",), ("still=",), ("video=x",), ("still=a", "still=b")])
def test_other_single_files_are_refused(given):
    with pytest.raises(Misconfigured, match="--single-file"):
        parse_single_files(given)


def test_a_hash_of_the_first_use_is_kept_and_asked_for_again(tmp_path, profile):
    config = profile.still.files[0]
    assert not config.sha256
    assert FirstUse(tmp_path).record(profile.still, config, "a" * 64)
    again = FirstUse(tmp_path)
    assert again.pinned(profile.still, config).sha256 == "a" * 64
    assert not again.record(profile.still, config, "a" * 64)
    assert not again.pinned(profile.clip, config).sha256
    assert "first-use.json" in again.explain(profile.still, again.pinned(profile.still, config))


def test_the_line_of_a_wrong_file_may_be_removed_by_hand_even_the_last(tmp_path, profile):
    kept, wrong = profile.still.files[0], profile.clip.files[0]
    first_use = FirstUse(tmp_path)
    first_use.record(profile.still, kept, "a" * 64)
    first_use.record(profile.clip, wrong, "b" * 64)
    path = tmp_path / "first-use.json"
    assert "remove its line there" in first_use.explain(profile.clip, first_use.pinned(profile.clip, wrong))
    lines = path.read_text().splitlines()
    assert "b" * 64 in lines[-2]
    path.write_text("\n".join([*lines[:-2], lines[-1], ""]))
    again = FirstUse(tmp_path)
    assert not again.pinned(profile.clip, wrong).sha256
    assert again.pinned(profile.still, kept).sha256 == "a" * 64


@pytest.mark.parametrize("content", ["[]", "{", '{"a": "b"}'])
def test_a_damaged_list_of_first_uses_is_refused(tmp_path, content):
    (tmp_path / "first-use.json").write_text(content)
    with pytest.raises(Fatal, match="remove it to record anew"):
        FirstUse(tmp_path)
