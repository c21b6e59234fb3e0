"""Counts the bytes of tensors alive while code runs, on any device; on ``meta`` at full size for nothing.

What a device allocator adds (rounding, fragments, workspaces of libraries) is not counted.
"""

import weakref

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class LiveMemory(TorchDispatchMode):
    """``peak``: most bytes alive at once that were made inside, plus what ``hold`` was told of."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self._known = set()

    def hold(self, *tensors):
        """Count tensors made before, until they are dropped."""
        for tensor in tensors:
            self._count(tensor)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = [leaf for leaf in tree_iter((args, kwargs)) if hasattr(leaf, "untyped_storage")]
        made = func(*args, **(kwargs or {}))
        # Weights and other guests from outside are known by being arguments before they were results.
        outside = {tensor.untyped_storage()._cdata for tensor in given}
        for leaf in tree_iter(made):
            if hasattr(leaf, "untyped_storage") and leaf.untyped_storage()._cdata not in outside:
                self._count(leaf)
        return made

    def _count(self, tensor):
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        weakref.finalize(storage, self._drop, key, size)
        self.now += size
        self.peak = max(self.peak, self.now)

    def _drop(self, key, size):
        self._known.discard(key)
        self.now -= size
