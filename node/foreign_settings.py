"""Variables that Lilypad's resource provider reads, and what their owner has to do about each here.

Source: the options of its command line. None is read by this node.
"""

from collections.abc import Mapping

FOREIGN_VARIABLES = {
    "WEB3_PRIVATE_KEY": (
        "is in the environment: sdv-node never takes a key from there, where every child process has it. "
        "Put it into a keystore with `sdv-node wallet import`, then take the variable away"
    ),
    "WEB3_RPC_URL": "is not read: set chain.rpc_urls, in the file or as SDV_NODE__CHAIN__RPC_URLS",
    "WEB3_CHAIN_ID": 'is not read: set chain.chain_id, or chain.network = "arbitrum-sepolia"',
    "WEB3_CONTROLLER_ADDRESS": 'is not read: set chain.controller, or chain.network = "arbitrum-sepolia"',
    "LOG_LEVEL": "is not read: set log.level, in the file or as SDV_NODE__LOG__LEVEL",
    "OFFER_GPU": "is not read: the node finds its GPUs itself; worker.gpus chooses among them",
    "SERVICE_MEDIATORS": "is not read: set market.mediators",
}
"""What Lilypad's resource provider reads from its environment, and what is to be done about each here."""


def foreign_warnings(environment: Mapping[str, str]) -> list[str]:
    """Return what to do about the variables of another provider's software."""
    return [f"{name} {told}" for name, told in FOREIGN_VARIABLES.items() if environment.get(name)]
