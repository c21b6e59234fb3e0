"""How files and directories look over HTTP: media types, and the page that shows a directory.

The page has no script and loads nothing from elsewhere; every name in it is escaped.
"""

import base64
import hashlib
from dataclasses import dataclass
from html import escape
from pathlib import PurePosixPath
from urllib.parse import quote

TEXT = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"
MAX_ENTRIES_SHOWN = 1000
MAX_PLAYERS = 60

_BY_SUFFIX = {
    ".json": "application/json",
    ".mp4": "video/mp4",
    ".png": "image/png",
    ".txt": TEXT,
    ".webp": "image/webp",
}
_BY_NAME = {"exitCode": TEXT, "stderr": TEXT, "stdout": TEXT}
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:64rem;padding:1.5rem 1rem}
body{color:#1c2128;background:#fbfbfa}
h1{font-size:1.1rem;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}
td{padding:.3rem .5rem;border-top:1px solid #dfe2e0;overflow-wrap:anywhere}
td:last-child{text-align:right;white-space:nowrap}
main{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1rem}
figure{margin:0}
img,video{display:block;width:100%;height:auto;background:#e8eae8}
a{color:#0b5a86}
@media(prefers-color-scheme:dark){
body{color:#dfe3e6;background:#15181b}
td{border-color:#2c3238}
a{color:#7cc4f0}
img,video{background:#22272c}
}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

PAGE_POLICY = (
    f"default-src 'none'; img-src 'self'; media-src 'self'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""Content-Security-Policy of the directory page."""

FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox"
"""Content-Security-Policy of files: whatever a browser takes one for, it runs nothing in it."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the page. ``path`` is relative to the page's directory, ``size_bytes`` includes all below."""

    path: str
    is_directory: bool
    size_bytes: int


def media_type(name: str, head: bytes) -> str:
    """Return a file's media type by its name, or by its first bytes if it is reached without a name."""
    if name:
        return _BY_NAME.get(name) or _BY_SUFFIX.get(PurePosixPath(name).suffix.lower(), BINARY)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp":
        return "video/mp4"
    return BINARY


def directory_page(address: str, title: str, rows: list[Row], shown: list[Row]) -> str:
    """Return the page of the directory at ``address`` (a path on this server, quoted, without a last slash).

    ``rows`` are its entries; ``shown`` are the files, here or below, to play if they are pictures or videos.
    """
    lines = [_line(address, row) for row in rows[:MAX_ENTRIES_SHOWN]]
    if len(rows) > MAX_ENTRIES_SHOWN:
        lines.append(f"<tr><td>and {len(rows) - MAX_ENTRIES_SHOWN} more</td><td></td></tr>")
    players = [player for row in shown if (player := _player(address, row))][:MAX_PLAYERS]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><main>{''.join(players)}</main>"
        f"<table>{''.join(lines)}</table></body></html>"
    )


def _line(address: str, row: Row) -> str:
    slash = "/" if row.is_directory else ""
    link = f'<a href="{escape(address + "/" + quote(row.path))}">{escape(row.path)}{slash}</a>'
    return f"<tr><td>{link}</td><td>{row.size_bytes:,} bytes</td></tr>"


def _player(address: str, row: Row) -> str:
    source = escape(address + "/" + quote(row.path))
    caption = f"<figcaption>{escape(row.path)}</figcaption>"
    kind = media_type(PurePosixPath(row.path).name, b"")
    if kind.startswith("image/"):
        return f'<figure><img src="{source}" alt="{escape(row.path)}" loading="lazy">{caption}</figure>'
    if kind.startswith("video/"):
        return (
            f'<figure><video src="{source}" controls loop muted preload="metadata"></video>{caption}</figure>'
        )
    return ""
