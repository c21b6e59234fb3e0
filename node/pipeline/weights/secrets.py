"""The access token of a model hub: from a file, a systemd credential or the environment, never from argv.

Its text is shown nowhere: not in a log, an error or the repr of anything. Imports no torch.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from node.errors import Misconfigured

CREDENTIAL = "huggingface-token"
"""The systemd credential that is looked for: ``LoadCredential=huggingface-token:/path``."""
VARIABLE = "HF_TOKEN"
_MAX_BYTES = 512


@dataclass(frozen=True, slots=True)
class Token:
    """An access token; ``origin`` says where it was found."""

    text: str = field(repr=False)
    origin: str


def find_token(token_file: Path | None, environment: Mapping[str, str] | None = None) -> Token | None:
    """Return the token of ``token_file``, else the systemd credential's, else that of HF_TOKEN, or None.

    Raises Misconfigured, without showing any of it, if what is found cannot be a token.
    """
    given = os.environ if environment is None else environment
    if token_file is not None:
        return _from_file(token_file)
    credentials = given.get("CREDENTIALS_DIRECTORY")
    if credentials and (Path(credentials) / CREDENTIAL).is_file():
        return _from_file(Path(credentials) / CREDENTIAL)
    if text := given.get(VARIABLE, "").strip():
        return _checked(text, f"the environment variable {VARIABLE}")
    return None


def _from_file(path: Path) -> Token:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise Misconfigured(f"the token file {path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise Misconfigured(f"others can read the token file {path}: chmod 600 {path}")
    return _checked(content.decode("utf-8", "replace").strip(), f"the token file {path}")


def _checked(text: str, origin: str) -> Token:
    if not (text and len(text) <= _MAX_BYTES and text.isascii() and text.isprintable() and " " not in text):
        raise Misconfigured(f"{origin} does not hold a token: one line of printable characters is expected")
    return Token(text, origin)
