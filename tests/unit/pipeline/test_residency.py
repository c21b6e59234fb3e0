"""Sets of models take turns on the device, whole, and come back as they were."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from node.pipeline.acceleration.compilation import Runner
from node.pipeline.profiles import load_profile
from node.pipeline.residency import HostRoom, ModelSet, PinnedMover, Residency, of_models


class RecordingMover:
    """Writes down what it is asked and refuses what cannot be: two sets at once, or a set brought twice."""

    def __init__(self, names):
        self._names = names
        self.log = []
        self.failing = False

    def _note(self, what, networks):
        self.log.append((what, tuple(self._names[id(network)] for network in networks)))

    def keep(self, networks):
        self._note("keep", networks)

    def lend(self, networks):
        self._note("lend", networks)
        if self.failing:
            raise torch.OutOfMemoryError("CUDA out of memory")

    def take_back(self, networks):
        self._note("take back", networks)


@pytest.fixture
def world():
    networks = {name: nn.Linear(2, 2) for name in ("text", "still unet", "vision", "clip unet")}
    mover = RecordingMover({id(network): name for name, network in networks.items()})
    sets = {
        "still": ModelSet(
            (networks["text"], networks["still unet"]), (lambda: mover.log.append("release still"),)
        ),
        "clip": ModelSet((networks["vision"], networks["clip unet"])),
    }
    return SimpleNamespace(mover=mover, sets=sets)


_STILL, _CLIP = ("text", "still unet"), ("vision", "clip unet")


def test_resident_models_are_brought_once_and_never_moved(world):
    models = Residency("resident", world.sets, world.mover)
    for name in ("still", "clip", "still"):
        models.use(name)
    assert world.mover.log == [("lend", _STILL), ("lend", _CLIP)]
    assert models.present == ("still", "clip")


def test_swapped_sets_take_turns_and_release_addresses_before_they_leave(world):
    models = Residency("swapped", world.sets, world.mover)
    assert models.present == ()
    models.use("still")
    models.use("still")
    models.use("clip")
    assert models.present == ("clip",)
    models.use("still")
    assert world.mover.log == [
        ("keep", _STILL),
        ("keep", _CLIP),
        ("lend", _STILL),
        "release still",
        ("take back", _STILL),
        ("lend", _CLIP),
        ("take back", _CLIP),
        ("lend", _STILL),
    ]


def test_a_set_that_does_not_fit_is_taken_back_and_tried_again_in_whole(world):
    models = Residency("swapped", world.sets, world.mover)
    models.use("still")
    world.mover.failing = True
    with pytest.raises(torch.OutOfMemoryError):
        models.use("clip")
    assert models.present == ()
    assert world.mover.log[-2:] == [("lend", _CLIP), ("take back", _CLIP)]
    world.mover.failing = False
    models.use("clip")
    assert models.present == ("clip",)


def test_leaving_without_a_set_present_does_nothing(world):
    models = Residency("swapped", world.sets, world.mover)
    models.leave()
    assert world.mover.log == [("keep", _STILL), ("keep", _CLIP)]


def test_unknown_words_are_refused(world):
    with pytest.raises(ValueError, match="'resident' or 'swapped', not 'auto'"):
        Residency("auto", world.sets, world.mover)
    with pytest.raises(ValueError, match="no set 'sound', only still, clip"):
        Residency("swapped", world.sets, world.mover).use("sound")


class CopyingMover(PinnedMover):
    """The real mover with the device played by other host memory."""

    def __init__(self):
        super().__init__(torch.device("cpu"))
        self.copied_bytes = 0

    def copy(self, tensor):
        self.copied_bytes += tensor.numel() * tensor.element_size()
        return tensor.clone()


class Network(nn.Module):
    """Weights of every kind that matters: shared, half, channels-last, buffers saved and not saved."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1).to(memory_format=torch.channels_last)
        self.rounded = nn.Parameter(torch.randn(4).half(), requires_grad=False)
        self.shared = self.conv.bias
        self.register_buffer("table", torch.arange(4.0)[:, None, None], persistent=False)
        self.register_buffer("saved", torch.randn(4, 1, 1))

    def forward(self, x):
        return self.conv(x) + self.rounded[:, None, None] + self.table + self.saved


def test_real_moves_change_no_bit_no_stride_and_no_sharing():
    torch.manual_seed(1)
    network = Network().requires_grad_(requires_grad=False)
    x = torch.randn(1, 4, 5, 5)
    expected, strides = network(x), network.conv.weight.stride()
    mover = CopyingMover()
    models = Residency("swapped", {"still": ModelSet((network,)), "clip": ModelSet(())}, mover)
    host = network.conv.weight.data_ptr()
    with torch.inference_mode():
        for _ in range(2):
            models.use("still")
            assert network.conv.weight.data_ptr() != host
            assert network.conv.weight.stride() == strides
            assert network.shared is network.conv.bias
            assert torch.equal(network(x), expected)
            models.use("clip")
            assert network.conv.weight.data_ptr() == host, "nothing is copied back"
    assert torch.equal(network(x), expected)
    saved = 4 * (4 * 4 * 9 + 4 + 4) + 2 * 4
    assert mover.copied_bytes == 2 * (saved + 4 * 4)


def test_room_is_taken_in_blocks_without_gaps_larger_than_an_alignment():
    room = HostRoom(pinned=False, block_bytes=4096)
    tensors = [torch.randn(100), torch.randn(7, 3).t(), torch.randn(2000), torch.randn(5).half()]
    kept = [room.like(tensor) for tensor in tensors]
    for tensor, copy in zip(tensors, kept, strict=True):
        copy.copy_(tensor)
    for tensor, copy in zip(tensors, kept, strict=True):
        assert torch.equal(copy, tensor)
        assert copy.stride() == tensor.stride()
        assert copy.data_ptr() % 4 == 0
    assert room.allocated_bytes == 4096 + 8000 + 4096


def test_tensors_with_holes_are_refused():
    with pytest.raises(ValueError, match="cannot be moved as it lies"):
        HostRoom(pinned=False).like(torch.randn(4, 4)[:, :2])


def test_the_sets_of_a_profile_are_those_of_its_two_stages():
    names = ("large", "giant", "still_unet", "still_vae", "vision", "clip_unet", "clip_vae")
    networks = {name: nn.Linear(1, 1) for name in names}
    models = SimpleNamespace(**networks, device=torch.device("cpu"))
    models.large, models.giant = (SimpleNamespace(model=networks[name]) for name in ("large", "giant"))
    models.still_unet = Runner(networks["still_unet"], "eager")
    released = []
    models.still_unet.release = lambda: released.append("still_unet")
    found = of_models(models, replace(load_profile("tiny"), residency="swapped"))
    still, clip = (tuple(networks[name] for name in part) for part in (names[:4], names[4:]))
    assert (found._sets["still"].networks, found._sets["clip"].networks) == (still, clip)
    found.use("still")
    found.use("clip")
    assert released == ["still_unet"]
