"""The sampling algorithms, one function each, by family; ``node.pipeline.samplers`` finds them by name.

Every formula is that of docs, pipeline 8, in the operation order that agrees with the reference to rounding.
"""
