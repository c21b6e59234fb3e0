"""Who signed a message: the account behind an EIP-191 signature (``personal_sign``)."""

from eth_account import Account
from eth_account.messages import encode_defunct
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError

from node.types import Address

SIGNATURE_BYTES = 65
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


def message_signer(message: bytes, signature: bytes) -> Address | None:
    """Return the account that signed ``message``, or None if the signature is none that this node accepts.

    Only the canonical one of the two signatures that every key can give is taken (low s, EIP-2).
    """
    if len(signature) != SIGNATURE_BYTES or signature[64] not in {27, 28}:
        return None
    if int.from_bytes(signature[32:64]) > HALF_ORDER:
        return None
    try:
        account = Account.recover_message(encode_defunct(message), signature=signature)
    except (BadSignature, ValidationError, ValueError):
        return None
    return Address(str(account).lower())
