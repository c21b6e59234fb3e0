"""EIP-191 signatures: whose they are, and which are taken for none."""

import pytest

from node.chain.devnet import PROVIDER, dev_signer
from node.chain.messages import message_signer

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
MESSAGE = b'{"version":"1"}'


async def test_the_signer_of_a_message_is_recovered():
    signer = dev_signer(PROVIDER)
    signature = await signer.sign_message(MESSAGE)
    assert len(signature) == 65
    assert message_signer(MESSAGE, signature) == signer.address
    assert message_signer(MESSAGE + b" ", signature) != signer.address


async def test_the_prefix_is_the_one_of_personal_sign():
    # What Anvil's and every wallet's personal_sign prefixes, so that a remote signer gives the same bytes.
    from eth_keys.datatypes import Signature
    from eth_utils.crypto import keccak

    signature = await dev_signer(PROVIDER).sign_message(MESSAGE)
    digest = keccak(b"\x19Ethereum Signed Message:\n" + str(len(MESSAGE)).encode() + MESSAGE)
    raw = Signature(signature[:64] + bytes([signature[64] - 27]))
    recovered = raw.recover_public_key_from_msg_hash(digest).to_checksum_address()
    assert recovered.lower() == dev_signer(PROVIDER).address


async def test_the_second_signature_of_the_same_key_is_not_taken():
    signature = await dev_signer(PROVIDER).sign_message(MESSAGE)
    s = ORDER - int.from_bytes(signature[32:64])
    flipped = signature[:32] + s.to_bytes(32) + bytes([55 - signature[64]])
    assert message_signer(MESSAGE, flipped) is None


@pytest.mark.parametrize(
    "signature", [b"", bytes(64), bytes(65), bytes(64) + b"\x1b", b"\xff" * 64 + b"\x1c", bytes(66)]
)
def test_what_is_no_signature_has_no_signer(signature):
    assert message_signer(MESSAGE, signature) is None
