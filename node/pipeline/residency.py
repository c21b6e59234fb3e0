"""Which networks are on the device: all of them, or the still's and the clip's in turns.

Cards of 16 GB cannot hold both sets beside an activation of the clip, so the sets take turns at stage borders
(docs, performance 3.7): whole sets, from host memory that the card can read by itself. Where a weight waits
changes no bit of a result, so residency is no part of the determinism class.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import nn

from node.pipeline.acceleration.compilation import Runner
from node.pipeline.profiles import Profile

SetName = Literal["still", "clip"]
_ALIGNMENT = 512


@dataclass(frozen=True, slots=True)
class ModelSet:
    """Networks that are needed together, and what must let go of their memory before they leave.

    ``release`` is for whoever remembers addresses of weights, like captured graphs: weights come back at
    other addresses.
    """

    networks: tuple[nn.Module, ...]
    release: tuple[Callable[[], None], ...] = ()


class Mover(Protocol):
    """Keeps the weights of networks in host memory and lends them to the device."""

    def keep(self, networks: Iterable[nn.Module]) -> None:
        """Take the weights of the networks over into host memory, where they stay."""
        ...

    def lend(self, networks: Iterable[nn.Module]) -> None:
        """Copy the weights of the networks to the device."""
        ...

    def take_back(self, networks: Iterable[nn.Module]) -> None:
        """Free the copies on the device; weights are never written there, so nothing is copied back."""
        ...


class Residency:
    """Puts the set that a stage needs onto the device. Raises ValueError for an unknown residency or set."""

    def __init__(self, residency: str, sets: Mapping[SetName, ModelSet], mover: Mover) -> None:
        if residency not in {"resident", "swapped"}:
            raise ValueError(f"residency is 'resident' or 'swapped', not {residency!r}")
        self._sets = dict(sets)
        self._mover = mover
        self._swapped = residency == "swapped"
        self._present: SetName | None = None
        for each in self._sets.values():
            if self._swapped:
                mover.keep(each.networks)
            else:
                mover.lend(each.networks)

    @property
    def present(self) -> tuple[SetName, ...]:
        """The sets on the device now."""
        if not self._swapped:
            return tuple(self._sets)
        return () if self._present is None else (self._present,)

    def use(self, name: SetName) -> None:
        """Make sure that a set is on the device, and when swapping that it is the only one.

        Call it at the border of stages, never while a network computes.
        """
        if name not in self._sets:
            raise ValueError(f"there is no set {name!r}, only {', '.join(self._sets)}")
        if not self._swapped or self._present == name:
            return
        self.leave()
        arriving = self._sets[name].networks
        try:
            self._mover.lend(arriving)
        except BaseException:
            # Half a set on the device would be taken for a whole one, and keep the memory of the other.
            self._mover.take_back(arriving)
            raise
        self._present = name

    def leave(self) -> None:
        """Take the set that is present off the device, if sets take turns."""
        if self._present is None:
            return
        leaving = self._sets[self._present]
        for release in leaving.release:
            release()
        self._mover.take_back(leaving.networks)
        self._present = None


class PinnedMover:
    """Weights in page-locked host memory; each set is copied to the device at the speed of the bus."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._kept: dict[int, torch.Tensor] = {}
        self._room = HostRoom(pinned=device.type == "cuda")

    def keep(self, networks: Iterable[nn.Module]) -> None:
        """Copy the weights to host memory, page-locked if the device is a CUDA card, and free the others."""
        with _plain_tensors():
            for weight in _saved(networks):
                host = self._room.like(weight)
                host.copy_(weight)
                self._kept[id(weight)] = host
                weight.data = host

    def lend(self, networks: Iterable[nn.Module]) -> None:
        """Copy the weights to the device. Raises torch's out-of-memory error if they do not fit."""
        with _plain_tensors():
            for weight in _saved(networks):
                weight.data = self.copy(weight.data)
            for table in _unsaved(networks):
                table.data = self.copy(table.data)
        self._wait()

    def take_back(self, networks: Iterable[nn.Module]) -> None:
        """Let the weights be those in host memory again, once the device has finished with them."""
        self._wait()
        with _plain_tensors():
            for weight in _saved(networks):
                weight.data = self._kept[id(weight)]

    def copy(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the tensor on the device; from page-locked memory the copy may still be under way."""
        return tensor.to(self._device, non_blocking=True)

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


class HostRoom:
    """Host memory for many tensors, in blocks.

    torch rounds each page-locked allocation up to a power of two, which by single weights would take a third
    more memory than they have bytes; a block is such a power, and weights lie side by side in it.
    """

    def __init__(self, *, pinned: bool, block_bytes: int = 2**28) -> None:
        self._pinned = pinned
        self._block_bytes = block_bytes
        self._block = torch.empty(0, dtype=torch.uint8)
        self._used = 0
        self.allocated_bytes = 0

    def like(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return memory of a dense tensor's size, type and strides: a layout chooses the kernel.

        Raises ValueError if the tensor has holes or overlaps itself.
        """
        if not torch.ops.aten.is_non_overlapping_and_dense(tensor):
            raise ValueError(f"a weight of strides {tensor.stride()} cannot be moved as it lies")
        size = tensor.numel() * tensor.element_size()
        if self._used + size > len(self._block):
            self._block = self._new_block(max(size, self._block_bytes))
            self._used = 0
        room = self._block[self._used : self._used + size].view(tensor.dtype)
        self._used += -(-size // _ALIGNMENT) * _ALIGNMENT
        return room.as_strided(tensor.size(), tensor.stride())

    def _new_block(self, size: int) -> torch.Tensor:
        self.allocated_bytes += size
        return torch.empty(size, dtype=torch.uint8, pin_memory=self._pinned)


def of_models(models: Any, profile: Profile) -> Residency:
    """Return the residency of a profile's loaded ``Models``, whose UNets may be behind a ``Runner``.

    Swapped models may be loaded into host memory: the first ``use`` puts a set onto the device.
    """
    still = (models.large.model, models.giant.model, models.still_unet, models.still_vae)
    clip = (models.vision, models.clip_unet, models.clip_vae)
    sets: dict[SetName, ModelSet] = {"still": _model_set(still), "clip": _model_set(clip)}
    return Residency(profile.residency, sets, PinnedMover(models.device))


def _model_set(members: Iterable[Any]) -> ModelSet:
    runners = [member for member in members if isinstance(member, Runner)]
    networks = tuple(member.unet if isinstance(member, Runner) else member for member in members)
    return ModelSet(networks, tuple(runner.release for runner in runners))


@contextmanager
def _plain_tensors() -> Iterator[None]:
    """Let tensors be made that are no inference tensors: those could not become a weight's data."""
    with torch.inference_mode(mode=False), torch.no_grad():
        yield


def _saved(networks: Iterable[nn.Module]) -> Iterator[torch.Tensor]:
    """Yield each parameter and each buffer that is saved with its network, once."""
    seen: set[int] = set()
    for network in networks:
        for weight in network.state_dict(keep_vars=True).values():
            if id(weight) not in seen:
                seen.add(id(weight))
                yield weight


def _unsaved(networks: Iterable[nn.Module]) -> Iterator[torch.Tensor]:
    """Yield the buffers that are not saved: small tables and a job's constants, which stay on the device."""
    networks = tuple(networks)
    saved = {id(weight) for weight in _saved(networks)}
    for network in networks:
        for buffer in network.buffers():
            if id(buffer) not in saved:
                yield buffer
