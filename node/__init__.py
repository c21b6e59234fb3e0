"""sdv-node: a compute provider node for deterministic text-to-video jobs on an on-chain market."""

__version__ = "0.1.0"
