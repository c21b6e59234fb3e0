"""The bytes that get signed: an EIP-1559 transaction made from our fields, and read back before it is sent.

A signer may live elsewhere, so what comes back is checked field by field. Facts: EIP-1559, EIP-2718.
"""

from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_keys.exceptions import BadSignature
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError
from hexbytes import HexBytes
from rlp.exceptions import RLPException  # type: ignore[import-untyped]

from node.chain.fees import Fees
from node.errors import Fatal
from node.types import Address, TxHash, Wei


class WrongSignature(Fatal):
    """What the signer returned is not what it was asked to sign; asking again is no remedy."""

    exit_code = 4


@dataclass(frozen=True, slots=True)
class Payload:
    """Everything that is signed."""

    chain_id: int
    nonce: int
    to: Address
    data: bytes
    value_wei: Wei
    gas: int
    fees: Fees

    def unsigned(self) -> dict[str, Any]:
        """Return the transaction in the notation of signers."""
        return {
            "type": 2,
            "chainId": self.chain_id,
            "nonce": self.nonce,
            "to": bytes.fromhex(self.to[2:]),
            "data": self.data,
            "value": self.value_wei,
            "gas": self.gas,
            "maxFeePerGas": self.fees.max_fee_wei,
            "maxPriorityFeePerGas": self.fees.tip_wei,
            "accessList": [],
        }


def payload_hash(raw: bytes) -> TxHash:
    """Return the transaction hash of signed bytes."""
    return TxHash("0x" + keccak(raw).hex())


def read_signed(raw: bytes) -> Payload:
    """Return the fields of signed bytes; raises WrongSignature if they are no EIP-1559 transaction."""
    try:
        signed = TypedTransaction.from_bytes(HexBytes(raw))
        fields = signed.as_dict()
        if fields["type"] != 2:
            raise WrongSignature("the signer returned a transaction of another type than EIP-1559")
        if fields["accessList"]:
            raise WrongSignature("the signer added an access list to the transaction")
        return Payload(
            chain_id=int(fields["chainId"]),
            nonce=int(fields["nonce"]),
            to=Address("0x" + bytes(fields["to"]).hex()),
            data=bytes(fields["data"]),
            value_wei=Wei(int(fields["value"])),
            gas=int(fields["gas"]),
            fees=Fees(Wei(int(fields["maxFeePerGas"])), Wei(int(fields["maxPriorityFeePerGas"]))),
        )
    except (ValueError, TypeError, KeyError, RLPException) as error:
        raise WrongSignature("the signer returned bytes that are not a signed transaction") from error


def check_signed(raw: bytes, asked: Payload, sender: Address) -> None:
    """Raise WrongSignature unless ``raw`` is exactly ``asked``, signed by ``sender``."""
    if read_signed(raw) != asked:
        raise WrongSignature("the signer returned another transaction than the one it was given")
    try:
        recovered = str(Account.recover_transaction(HexBytes(raw))).lower()
    except (BadSignature, ValidationError, ValueError, TypeError):
        raise WrongSignature("the signer returned a signature that no key can have made") from None
    if recovered != sender:
        raise WrongSignature(f"the signer signed as {recovered} instead of {sender}")
