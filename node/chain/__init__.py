"""The chain room: endpoints, contracts, logs, keys, transactions. The only home of web3 and its kin."""

import sys

from node.stand_ins import refusing, stand_in, standing_in

# Keystores of version 4 hold keys of validators, which this node has no use for. For them eth_account would
# compute the tables of a curve, a fifth of the time that the daemon takes to be imported.
_WHY = "keystores of version 4 are not for accounts"
_BLS12_381_ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
_limit = sys.getrecursionlimit()
with standing_in(
    stand_in("py_ecc.bls", G2ProofOfPossession=refusing("py_ecc.bls.G2ProofOfPossession", _WHY)),
    stand_in("py_ecc.bls12_381", curve_order=_BLS12_381_ORDER),
):
    import eth_account  # noqa: F401 - imported here for what its own imports do, see above and below

# py_ecc, which eth_account imports, raises the interpreter's recursion limit to 100,000. Deeply nested JSON
# from a stranger would then overflow the C stack and kill the process instead of raising RecursionError.
sys.setrecursionlimit(_limit)
