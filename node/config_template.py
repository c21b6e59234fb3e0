"""A new settings file: what is set with the comments of the shipped defaults, and the names of the rest."""

from collections.abc import Iterator, Mapping
from typing import Any

import tomlkit

from node.config_layers import DEFAULTS_FILE
from node.resources import data_path

HEAD = """\
# Settings of this sdv-node. What is not set here has its default, named below each section;
# `sdv-node config show --origin` tells what is in force, and docs/configuration.md explains every key.
# `sdv-node config set SECTION.KEY VALUE` changes one and keeps these comments.
"""


def new_file(answers: Mapping[tuple[str, str], Any]) -> str:
    """Return the text of a settings file that sets ``answers``, (section, key) to value, and nothing else."""
    explained = dict(_explained(data_path(DEFAULTS_FILE).read_text(encoding="utf-8")))
    parts = [HEAD]
    for section in dict.fromkeys(names[0] for names in explained):
        given = {names[1]: value for names, value in answers.items() if names[0] == section}
        if not given:
            continue
        lines = [f"\n[{section}]\n"]
        told: list[str] = []
        for key, value in given.items():
            comment = explained.get((section, key), [])
            lines += [] if comment == told else comment
            told = comment
            lines.append(f"{key} = {tomlkit.item(value).as_string()}\n")
        rest = [names[1] for names in explained if names[0] == section and names[1] not in given]
        parts.append("".join((*lines, *_listed(rest))))
    return "".join(parts)


def _listed(names: list[str]) -> Iterator[str]:
    line = "# At their defaults:"
    for name in names:
        if len(line) + len(name) > 110:
            yield f"{line}\n"
            line = "#  "
        line += f" {name}"
    if names:
        yield f"{line}\n"


def _explained(text: str) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """Yield each key of the defaults with the comment above it, or above the keys right before it."""
    section, begun = "", False
    comment: list[str] = []
    for line in text.splitlines(keepends=True):
        if line.startswith("["):
            section, comment, begun = line.strip().strip("[]"), [], False
        elif line.startswith("#"):
            comment, begun = ([*comment, line] if begun else [line]), True
        elif not line.strip():
            comment, begun = [], False
        elif "=" in line and line[0].isalpha():
            begun = False
            if "." not in section:
                yield (section, line.split("=")[0].strip()), comment
