"""What the driver's Xid numbers mean, and which of them a GPU does not recover from by itself.

Source: NVIDIA, "Xid Errors" (docs.nvidia.com/deploy/xid-errors), the catalog and its resolutions. An
application's own error (a kernel that reached where it must not) ends its process and nothing else; a fatal
one needs the GPU to be reset or the machine to be looked at.
"""

from typing import Final

from node.gpu.readings import Xid

_RESET: Final = "stop the node, run `nvidia-smi -r` (or reboot the machine), start it again"
_REBOOT: Final = "reboot the machine; if it comes back, check power, riser and cooling of the card"
_NOTHING: Final = "nothing: the worker is replaced; if it repeats, update the driver"
_REPLACE: Final = "stop the node, reset the GPU; if it comes back, have the card replaced"

_FATAL: Final[dict[int, tuple[str, str]]] = {
    48: ("a memory error that ECC cannot correct", _RESET),
    62: ("the GPU's microcontroller halted", _RESET),
    64: ("a faulty memory row or page could not be put out of use", _REPLACE),
    74: ("an error of NVLink", _RESET),
    79: ("the GPU fell off the bus", _REBOOT),
    95: ("a memory error that reached other programs (uncontained)", _RESET),
    109: ("a context switch did not end in time", _RESET),
    110: ("the GPU's security firmware failed", _REBOOT),
    119: ("the GPU's system processor (GSP) did not answer", _RESET),
    120: ("the GPU's system processor (GSP) failed", _RESET),
    140: ("a memory error that was not recovered from", _RESET),
    143: ("the GPU could not be initialised", _REBOOT),
}
_PASSING: Final[dict[int, tuple[str, str]]] = {
    8: ("the GPU stopped processing for a while", _NOTHING),
    13: ("a program's kernel failed", _NOTHING),
    31: ("a program reached for memory that is not its own", _NOTHING),
    32: ("a program's commands were damaged on their way", _NOTHING),
    38: ("the driver's firmware had an error", _NOTHING),
    43: ("a program was stopped by the GPU", _NOTHING),
    45: ("a program's work was taken off the GPU after an earlier error", _NOTHING),
    61: ("the GPU's microcontroller warned", _NOTHING),
    63: ("a faulty memory row or page was put out of use", "reset the GPU when it is convenient"),
    68: ("the video processor failed", _NOTHING),
    69: ("a program's work failed in the graphics engine", _NOTHING),
    92: ("memory errors were corrected, and many of them", "watch it; have the card replaced if it repeats"),
    94: ("a memory error that ended one program (contained)", "reset the GPU when it is convenient"),
    # Told when it asks for less than before, too: what it asks for now is a reading of its own.
    154: ("the driver changed what it asks for before the GPU is used again", "see `nvidia-smi -q`"),
}
_UNKNOWN: Final = (
    "an error this node has no name for: see NVIDIA's list of Xid errors",
    "look at `dmesg` and at `nvidia-smi -q`; if it repeats, reset the GPU",
)


def xid(number: int, at: float) -> Xid:
    """Return an error in words; one that is not in the table is told, and is not taken for fatal."""
    fatal = number in _FATAL
    meaning, remedy = _FATAL.get(number) or _PASSING.get(number, _UNKNOWN)
    return Xid(number, at, meaning, remedy, fatal)
