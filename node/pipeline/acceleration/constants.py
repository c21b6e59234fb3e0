"""What stays the same over all steps of a job, computed once and kept where the compiled step finds it.

A bound network holds one job's constants (keys and values of the text, projected images, embeddings of sizes)
in buffers whose addresses stay as long as their shapes do, because captured graphs remember addresses.
"""

from typing import Protocol

import torch
from torch import nn


class Bindable(Protocol):
    """A network whose step reads constants: ``StillUNet`` and ``ClipUNet``."""

    holder: "Binding | None"

    def bind(self, **conditioning: torch.Tensor | int) -> None:
        """Compute the constants of ``conditioning`` into the network's buffers."""
        ...


class Binding:
    """One job's claim on a network's constants. Several may exist; each step begins with ``hold``.

    Raises ValueError if the conditioning does not fit the network.
    """

    def __init__(self, network: Bindable, **conditioning: torch.Tensor | int) -> None:
        self._network = network
        self._conditioning = conditioning
        self.hold()

    def hold(self) -> None:
        """Make the network's constants this job's; free of cost unless another job's are there."""
        if self._network.holder is self:
            return
        # Nobody holds a network whose constants are half written, should one of the copies fail.
        self._network.holder = None
        # Buffers made in inference mode could not be written outside of it.
        with torch.inference_mode(mode=False), torch.no_grad():
            self._network.bind(**self._conditioning)
        self._network.holder = self


def keep(layer: nn.Module, name: str, value: torch.Tensor) -> bool:
    """Put ``value`` into the buffer ``name``, in place if it fits; return whether its address is new."""
    kept = getattr(layer, name)
    if kept is not None and (kept.shape, kept.dtype, kept.device) == (value.shape, value.dtype, value.device):
        kept.copy_(value)
        return False
    setattr(layer, name, value.contiguous())
    return True


def bound(kept: torch.Tensor | None) -> torch.Tensor:
    """Return a constant. Raises RuntimeError if the network has none yet."""
    if kept is None:
        raise RuntimeError("no job is bound to this network: make a Binding before the first step")
    return kept
