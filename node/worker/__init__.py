"""Workers: processes that render, their protocol, supervision and the pool the engine talks to.

Only ``child`` imports the pipeline, and only inside the worker process; the daemon never loads torch.
"""
