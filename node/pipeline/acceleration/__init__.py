"""Exact rewrites of the networks: the same mathematics with less traffic, fewer kernels or less memory."""
