"""``manifest.json``: what a result says of itself, so that anybody can check it and compute it again.

Written by whoever rendered, read as a stranger's text. Pure; the files it speaks of are looked at elsewhere.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from node.errors import NodeError
from node.job.foreign_json import read_json

MANIFEST = "manifest.json"
MANIFEST_VERSION = 1
MAX_MANIFEST_BYTES = 1024 * 1024
MAX_OUTPUTS = 4096
MAX_STAGES = 8192
OUTPUTS = "outputs"

_CLASS_DIGITS = 16
_MAX_ENTRIES = 4096
_MAX_TEXT = 4096
_MAX_PATH = 256
_SHA256 = re.compile(r"[0-9a-f]{64}")


class BadManifest(NodeError):
    """A manifest that is none, or says what none can say; the text names the entry."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file under ``outputs/``: its path from the result directory, its size and its SHA-256."""

    path: str
    media_type: str
    size_bytes: int
    sha256: str

    def to_json(self) -> dict[str, str | int]:
        """Return the file's entry in the manifest."""
        return {
            "path": self.path,
            "media_type": self.media_type,
            "bytes": self.size_bytes,
            "sha256": self.sha256,
        }


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was computed (``inputs``, defaults filled in), with what, on what, and what came out.

    ``class_parts`` are the parts whose digest is the determinism class; ``weights`` has the SHA-256 of every
    model file by its path; ``stages`` the SHA-256 of each stage's numbers, and of each file by its path.
    """

    module: str
    profile: str
    inputs: Mapping[str, str | int]
    notes: tuple[str, ...]
    determinism_class: str
    class_parts: Mapping[str, str]
    weights: Mapping[str, str]
    stages: Mapping[str, str]
    outputs: tuple[OutputFile, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the document of ``manifest.json``."""
        return {
            "version": MANIFEST_VERSION,
            "module": self.module,
            "profile": self.profile,
            "inputs": dict(self.inputs),
            "notes": list(self.notes),
            "determinism_class": self.determinism_class,
            "class_parts": dict(self.class_parts),
            "weights": dict(self.weights),
            "stages": dict(self.stages),
            "outputs": [output.to_json() for output in self.outputs],
        }


def digest(document: object) -> str:
    """Return the SHA-256 of a document's canonical JSON."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def class_name(parts: Mapping[str, str]) -> str:
    """Return the short name of the determinism class that consists of ``parts``."""
    return digest(dict(parts))[:_CLASS_DIGITS]


def read_manifest(data: bytes) -> Manifest:
    """Read a stranger's manifest. Raises BadManifest; what it says may still be untrue."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise BadManifest(f"{MANIFEST} is longer than {MAX_MANIFEST_BYTES} bytes")
    try:
        document = read_json(data)
    except ValueError as error:
        raise BadManifest(f"{MANIFEST} is not JSON") from error
    if not isinstance(document, dict):
        raise BadManifest(f"{MANIFEST} is not a JSON object")
    version = document.get("version")
    if type(version) is not int or version != MANIFEST_VERSION:
        raise BadManifest(f"the manifest's version is {_shown(version)}, allowed: {MANIFEST_VERSION}")
    return Manifest(
        module=_text(document, "module"),
        profile=_text(document, "profile"),
        inputs=_inputs(document.get("inputs")),
        notes=_notes(document.get("notes")),
        determinism_class=_text(document, "determinism_class"),
        class_parts=_texts(document, "class_parts"),
        weights=_hashes(document, "weights", _MAX_ENTRIES),
        stages=_hashes(document, "stages", MAX_STAGES),
        outputs=_outputs(document.get("outputs")),
    )


def _text(document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    if not _is_text(value):
        raise BadManifest(f"the manifest's {key} is {_shown(value)}, a text is expected")
    return str(value)


def _inputs(value: object) -> dict[str, str | int]:
    if not isinstance(value, dict) or len(value) > _MAX_ENTRIES:
        raise BadManifest("the manifest's inputs are not an object")
    if not all(_is_text(one) or type(one) is int for one in value.values()):
        raise BadManifest("the manifest's inputs are not texts and whole numbers")
    return value


def _notes(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _MAX_ENTRIES or not all(map(_is_text, value)):
        raise BadManifest("the manifest's notes are not a list of texts")
    return tuple(value)


def _texts(document: dict[str, Any], key: str) -> dict[str, str]:
    value = document.get(key)
    if not isinstance(value, dict) or len(value) > _MAX_ENTRIES or not all(map(_is_text, value.values())):
        raise BadManifest(f"the manifest's {key} are not an object of texts")
    return value


def _hashes(document: dict[str, Any], key: str, most: int) -> dict[str, str]:
    value = document.get(key)
    if not isinstance(value, dict) or len(value) > most or not all(map(_is_sha256, value.values())):
        raise BadManifest(f"the manifest's {key} are not an object of SHA-256 in hexadecimal")
    return value


def _outputs(value: object) -> tuple[OutputFile, ...]:
    if not isinstance(value, list) or len(value) > MAX_OUTPUTS:
        raise BadManifest(f"the manifest lists no outputs, or more than {MAX_OUTPUTS}")
    outputs = tuple(map(_output, value))
    paths = [output.path for output in outputs]
    if len(set(paths)) != len(paths):
        raise BadManifest("the manifest lists an output twice")
    return outputs


def _output(entry: object) -> OutputFile:
    if not isinstance(entry, dict):
        raise BadManifest("the manifest's outputs are not objects")
    path, media_type, size_bytes, sha256 = (
        entry.get(key) for key in ("path", "media_type", "bytes", "sha256")
    )
    if not (isinstance(path, str) and isinstance(media_type, str) and isinstance(sha256, str)) or not (
        len(path) <= _MAX_PATH and type(size_bytes) is int and _is_sha256(sha256)
    ):
        raise BadManifest("an output in the manifest lacks its path, media_type, bytes or sha256")
    folder, _, name = path.partition("/")
    if folder != OUTPUTS or any(part in {"", ".", ".."} for part in name.split("/")) or "\0" in path:
        raise BadManifest(f"the manifest lists an output outside {OUTPUTS}/: {_shown(path)}")
    return OutputFile(path, media_type, size_bytes, sha256)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_TEXT


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _shown(value: object) -> str:
    return ascii(value)[:80]
