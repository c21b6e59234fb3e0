"""Who signs: the Signer interface and the signer that holds the key in this process.

The key enters here and never leaves: not through repr, pickles, copies or error texts. Files and passwords
are the business of ``keystore``.
"""

from typing import Any, NoReturn, Protocol

from eth_account import Account
from eth_account.messages import encode_defunct

from node.errors import Fatal
from node.types import Address


class Signer(Protocol):
    """An account that can sign transactions."""

    @property
    def address(self) -> Address:
        """The account, in lower case."""
        ...

    async def sign(self, tx: dict[str, Any]) -> bytes:
        """Return the raw signed bytes of an EIP-1559 transaction.

        Raises RefusedByPolicy if the signer's own rules forbid it and Retryable if it cannot be asked now.
        """
        ...


class MessageSigner(Protocol):
    """An account that can sign a message for people and programs to read (EIP-191, ``personal_sign``).

    A remote signer answers with ``eth_sign`` or ``account_signData``, which add the same prefix.
    """

    @property
    def address(self) -> Address:
        """The account, in lower case."""
        ...

    async def sign_message(self, message: bytes) -> bytes:
        """Return the signature of 65 bytes (r, s, v) over the prefixed message.

        Raises RefusedByPolicy if the signer's own rules forbid it and Retryable if it cannot be asked now.
        """
        ...


class Key(Signer, MessageSigner, Protocol):
    """An account that can do both, wherever its private key is."""


class LocalSigner:
    """Signs with a private key held in memory."""

    __slots__ = ("__account", "_address")

    def __init__(self, key: bytes) -> None:
        try:
            account = Account.from_key(key)
        except Exception:  # noqa: BLE001 - whatever it is, its text or context may show the key
            account = None
        if account is None:
            raise Fatal("the private key is not a valid secp256k1 key of 32 bytes")
        self.__account = account
        self._address = Address(account.address.lower())

    @property
    def address(self) -> Address:
        """The account, in lower case."""
        return self._address

    async def sign(self, tx: dict[str, Any]) -> bytes:
        """Return the raw signed bytes of an EIP-1559 transaction; takes about a millisecond."""
        return bytes(self.__account.sign_transaction(tx).raw_transaction)

    async def sign_message(self, message: bytes) -> bytes:
        """Return the EIP-191 signature of 65 bytes (r, s, v)."""
        return bytes(self.__account.sign_message(encode_defunct(message)).signature)

    def __repr__(self) -> str:
        return f"LocalSigner({self._address})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signer holds a private key and cannot be pickled or copied")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        self.__reduce__()
