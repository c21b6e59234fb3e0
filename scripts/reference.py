"""Write docs/configuration.md: every setting with its default, what it may be, and what it means.

Keys, kinds and bounds come from the sections of ``node.config``, the rest from config/default.toml.
The same code always gives the same page, so ``--check`` can tell a stale one.
"""

import argparse
import sys
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from node import setting_types as kinds
from node.app.live_settings import may_be_live
from node.config import ENVIRONMENT_PREFIX, Config

ROOT = Path(__file__).resolve().parent.parent
DEFAULTS = ROOT / "config" / "default.toml"
PAGE = ROOT / "docs" / "configuration.md"

INTRODUCTION = f"""# Every setting

Made by `scripts/reference` from the code and [config/default.toml](../config/default.toml). Settings come
from four places, each stronger than the one before it: the defaults below, your file
(`/etc/sdv-node/config.toml`, or `~/.config/sdv-node/config.toml`, or the one that `--config` names), the
environment (`{ENVIRONMENT_PREFIX}SECTION__KEY`) and the command line (`--set section.key=value`). A list in
the last two is one text with commas. Unknown keys are refused. Amounts of tokens are text, so that no digit
is lost. Secrets are never settings, only the paths of their files are.

`sdv-node config init` writes a file by asking; `config set KEY VALUE` changes one setting and keeps your
comments; `config check` names every problem with its place; `config show --origin` tells what is in force and
where it is from. What is marked *live* is taken over by `sdv-node reload` while the node runs, all of it or
nothing; the rest needs a restart.
"""

NAMED_KINDS = {
    "_optional_address": "an address, or empty",
    "parse_address": "an address",
    "_endpoint": "an http(s) or ws(s) address",
    "_signer": "an http(s) or unix address, or empty",
    "gpu_name": "an index or a UUID",
    "socket_path": "an absolute path",
    "_listen_address": "a multiaddress to listen on",
    "_peer_address": "a multiaddress",
    "_named_peer": "a multiaddress that ends in /p2p/ and a peer id",
    "ray_resource": "a name and an amount, as in sdv-1.1=1",
    "_optional_url": "an http(s) address, or empty",
    "_url": "an http(s) address",
    "_rate": "never, always or a share from 0 to 1",
    "_tokens": "0 to 1000000000",
}
PLAIN_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@dataclass(slots=True)
class Group:
    """Neighbouring keys that one comment explains."""

    section: str
    comment: list[str] = field(default_factory=list)
    defaults: dict[str, str] = field(default_factory=dict)


def groups(text: str) -> Iterator[Group]:
    """Yield the groups of config/default.toml in order. A comment begins one, and ends with its last key."""
    section, current, open_list = "", Group(""), ""
    for line in text.splitlines():
        stripped = line.strip()
        if open_list:
            current.defaults[open_list] += " " + stripped
            open_list = "" if stripped == "]" else open_list
        elif stripped.startswith("[") and stripped.endswith("]"):
            yield current
            section = stripped.strip("[]")
            current = Group(section)
        elif stripped.startswith("#"):
            if current.defaults:
                yield current
                current = Group(section)
            current.comment.append(stripped.removeprefix("#").removeprefix(" "))
        elif "=" in stripped and section:
            key, value = (part.strip() for part in stripped.split("=", 1))
            current.defaults[key] = value
            open_list = key if value == "[" else ""
    yield current


def section_class(path: str) -> Any:
    """Return the class of a section, such as ``worker.ray``."""
    place: Any = Config
    for name in path.split("."):
        place = place.model_fields[name].annotation
    return place


def allowed(info: FieldInfo) -> str:
    """Return what a setting may be, in words."""
    return _allowed(info.annotation, list(info.metadata))


def _allowed(kind: Any, metadata: list[Any]) -> str:
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(kind))
    if origin is typing.Annotated:
        inner, *more = typing.get_args(kind)
        return _allowed(inner, [*more, *metadata])
    if origin is tuple:
        most = _bound(metadata, "max_length")
        return f"a list{f' of at most {most:,}' if most else ''}: {_allowed(typing.get_args(kind)[0], [])}"
    if origin is types.UnionType:
        return _allowed(typing.get_args(kind)[0], metadata)
    if isinstance(kind, type) and issubclass(kind, kinds.Section):
        return "tables as shown below"
    unit = next((mark.name for mark in metadata if isinstance(mark, kinds.Unit)), "")
    functions = [getattr(mark, "func", None) for mark in metadata]
    named = next((NAMED_KINDS[f.__name__] for f in functions if f and f.__name__ in NAMED_KINDS), "")
    words = named or PLAIN_KINDS[kind if kind in PLAIN_KINDS else str]
    return " ".join(part for part in (words, _range(metadata), unit) if part)


def _range(metadata: list[Any]) -> str:
    least, above = _bound(metadata, "ge"), _bound(metadata, "gt")
    most = _bound(metadata, "le")
    low = f"from {least:,}" if least is not None else f"above {above:,}" if above is not None else ""
    return f"{low}{f' to {most:,}' if most is not None else ''}".strip()


def _bound(metadata: list[Any], name: str) -> Any:
    for mark in metadata:
        value = getattr(mark, name, None)
        if value is not None:
            return value
        for inner in getattr(mark, "metadata", ()):
            if (value := getattr(inner, name, None)) is not None:
                return value
    return None


def page() -> str:
    """Return the whole page."""
    lines = [INTRODUCTION]
    section = ""
    for group in groups(DEFAULTS.read_text()):
        if not group.section:
            continue
        fields = section_class(group.section).model_fields
        if group.section != section:
            section = group.section
            about = (section_class(section).__doc__ or "").strip().splitlines()[0]
            lines.append(f"\n## [{section}]\n\n{about}\n")
        for key, value in group.defaults.items():
            live = " *(live)*" if may_be_live(section, key) else ""
            lines.append(f"- `{key}` = `{value}`: {allowed(fields[key])}{live}")
        lines += _meaning(group.comment)
    return "\n".join(lines).rstrip() + "\n"


def _meaning(comment: list[str]) -> Iterator[str]:
    if not comment:
        return
    prose = [line for line in comment if not line.startswith("  ")]
    example = [line.removeprefix("  ") for line in comment if line.startswith("  ")]
    yield ""
    yield from (f"  {line}" for line in prose)
    if example:
        yield from ("", "  ```toml", *(f"  {line}" for line in example), "  ```")
    yield ""


def main() -> int:
    """Write the page, or tell with ``--check`` whether it is up to date."""
    parser = argparse.ArgumentParser(prog="scripts/reference", description="Write docs/configuration.md.")
    parser.add_argument("--check", action="store_true", help="Only tell whether it is up to date.")
    fresh = page()
    if not parser.parse_args().check:
        PAGE.write_text(fresh)
        return 0
    if PAGE.exists() and PAGE.read_text() == fresh:
        return 0
    sys.stderr.write("docs/configuration.md is not what the code says: run scripts/reference\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
