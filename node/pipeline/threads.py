"""What torch lets each thread set for itself and numbers made on the CPU depend on.

A new thread begins with the process's defaults, not with the settings of the thread that started it.
"""

from collections.abc import Callable

import torch


def flushes_denormals() -> bool:
    """Return whether the calling thread replaces subnormal numbers by 0."""
    # No call tells; a subnormal number that is halved does. Libraries built for speed alone switch it on.
    return bool((torch.tensor([1e-40]) * 0.5 == 0).item())


def settings() -> Callable[[], None]:
    """Return what gives another thread, when it calls it, the settings that the calling thread has now."""
    count, flush = torch.get_num_threads(), flushes_denormals()

    def adopt() -> None:
        torch.set_num_threads(count)
        torch.set_flush_denormal(flush)

    return adopt
