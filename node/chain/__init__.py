"""The chain room: endpoints, contracts, logs, keys, transactions. The only home of web3 and its kin."""

import sys

_limit = sys.getrecursionlimit()
import eth_account  # noqa: E402, F401 - imported here for what its own imports do, see below

# py_ecc, which eth_account imports, raises the interpreter's recursion limit to 100,000. Deeply nested JSON
# from a stranger would then overflow the C stack and kill the process instead of raising RecursionError.
sys.setrecursionlimit(_limit)
