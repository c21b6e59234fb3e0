"""Amounts as people write them. Exact: no floats, whatever the number of digits."""

from node.types import TOKEN_DECIMALS

GWEI_DECIMALS = 9


def tokens(wei: int | str) -> str:
    """Return an amount in whole tokens (or ether), without trailing zeros."""
    return _shifted(int(wei), TOKEN_DECIMALS)


def gwei(wei: int) -> str:
    """Return a fee per gas in gwei, without trailing zeros."""
    return _shifted(wei, GWEI_DECIMALS)


def _shifted(amount: int, decimals: int) -> str:
    sign, amount = ("-", -amount) if amount < 0 else ("", amount)
    whole, fraction = divmod(amount, 10**decimals)
    return f"{sign}{whole}" + (f".{fraction:0{decimals}d}".rstrip("0") if fraction else "")
