"""Hashes that nobody publishes, kept from the first time a file was used, so that the second time is checked.

``<data_dir>/models/first-use.json`` maps ``REPOSITORY@REVISION/PATH`` to the SHA-256. Imports no torch.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

from node.errors import Fatal
from node.pipeline.results import write_durably
from node.pipeline.weights.sources import PinnedFile, Source

NAME = "first-use.json"
_MAX_BYTES = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LAST_COMMA = re.compile(r",\s*\}\s*\Z")


class FirstUse:
    """The hashes recorded on this machine."""

    def __init__(self, models_dir: Path) -> None:
        self._path = models_dir / NAME
        self._known = self._read()

    def pinned(self, source: Source, file: PinnedFile) -> PinnedFile:
        """Return the file with the hash that the table states, or else the one recorded here, if any."""
        if file.sha256:
            return file
        return replace(file, sha256=self._known.get(self._key(source, file), ""))

    def record(self, source: Source, file: PinnedFile, sha256: str) -> bool:
        """Keep the hash of a file that had none; return whether it was new."""
        key = self._key(source, file)
        # Another profile's pull may have recorded something since.
        self._known = self._read()
        if file.sha256 or self._known.get(key) == sha256:
            return False
        self._known[key] = sha256
        text = json.dumps(dict(sorted(self._known.items())), indent=1)
        write_durably(self._path, f"{text}\n".encode())
        return True

    def explain(self, source: Source, file: PinnedFile) -> str:
        """Return where an expected hash comes from, for a refusal."""
        if file.sha256 and self._known.get(self._key(source, file)) == file.sha256:
            return (
                f"recorded on first use in {self._path}: remove its line there if that file was the wrong one"
            )
        return "pinned by the profile"

    def _key(self, source: Source, file: PinnedFile) -> str:
        return f"{source.repository}@{source.revision}/{file.path}"

    def _read(self) -> dict[str, str]:
        try:
            if self._path.stat().st_size > _MAX_BYTES:
                raise ValueError("it is too large")  # noqa: TRY301 - one sentence for every way to be wrong
            # Whoever removes the last line by hand leaves the comma of the one before.
            text = _LAST_COMMA.sub("}", self._path.read_text(encoding="utf-8"))
            document = json.loads(text)
            known = {str(key): str(value) for key, value in document.items()}
            if not all(_SHA256.fullmatch(value) for value in known.values()):
                raise ValueError("a value is not a SHA-256")  # noqa: TRY301
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError) as error:
            raise Fatal(f"{self._path} cannot be read, remove it to record anew: {error}") from error
        return known
