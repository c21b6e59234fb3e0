"""Which names a published tree may hold: the one rule that import, gateway and download share.

Narrower than what a file system allows, so that a tree can always be written again on another machine.
"""

MAX_NAME_BYTES = 255


def name_problem(name: str) -> str | None:
    """Return why this is no name for an entry of a published directory, or None if it is one."""
    shown = repr(name[:80])
    try:
        length = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return f"the name {shown} is not valid UTF-8"
    if not 0 < length <= MAX_NAME_BYTES:
        return f"the name {shown} has {length} bytes: allowed are 1 to {MAX_NAME_BYTES}"
    if name.startswith("."):
        return f"the name {shown} starts with a dot: hidden entries are not part of a published tree"
    if "/" in name:
        return f"the name {shown} holds a slash"
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in name):
        return f"the name {shown} holds a control character"
    return None
