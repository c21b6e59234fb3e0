"""A small hub on this machine: the part of the Hugging Face protocol that fetches files, with its faults.

Small files come from the hub itself under their git hash; large ones by a redirect to a content network
of another host name, which must never be sent a token.
"""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = ".safetensors"


class Hub:
    """Serves ``folders`` (by repository), counts what it serves, and does as ``faults`` say."""

    def __init__(self, folders, revisions, *, gated=()):
        self.folders = folders
        self.revisions = revisions
        self.gated = set(gated)
        self.allowed_token = "hf_allowed"
        self.requests = []
        self.served = {}
        self.cut_after = {}
        self.broken = {}
        self.changed = {}
        self.ignores_ranges = False
        self.foreign_tokens = []
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *problem):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self):
        return self._server.server_address[1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def content(self, repository, path):
        file = self.folders[repository] / path
        return self.changed.get(path, file.read_bytes() if file.is_file() else None)

    def bytes_of(self, path):
        return self.served.get(path, 0)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def _answer(self):
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        hub.requests.append((self.command, path))
        if path.startswith("/network/"):
            if self.headers.get("Authorization"):
                hub.foreign_tokens.append(self.headers["Authorization"])
            owner, name, file = path.removeprefix("/network/").split("/", 2)
            self._send(f"{owner}/{name}", file)
            return
        owner, name, _, revision, file = path.removeprefix("/").split("/", 4)
        repository = f"{owner}/{name}"
        if repository in hub.gated and self.headers.get("Authorization") != f"Bearer {hub.allowed_token}":
            self._plain(401 if not self.headers.get("Authorization") else 403, {"X-Error-Code": "GatedRepo"})
            return
        content = hub.content(repository, file)
        if content is None or revision != hub.revisions[repository]:
            self._plain(404, {"X-Error-Code": "EntryNotFound"})
        elif not file.endswith(LARGE):
            self._send(repository, file)
        else:
            headers = {
                "X-Repo-Commit": revision,
                "X-Linked-Size": str(len(content)),
                "X-Linked-Etag": f'"{hashlib.sha256(self._honest(repository, file)).hexdigest()}"',
                "Location": f"http://localhost:{hub.port}/network/{repository}/{file}",
            }
            self._plain(302, headers)

    def _honest(self, repository, file):
        stored = self.hub.folders[repository] / file
        return stored.read_bytes() if stored.is_file() else self.hub.content(repository, file)

    def _send(self, repository, file):
        hub, content = self.hub, self.hub.content(repository, file)
        if self.command == "GET" and hub.broken.get(file):
            self._plain(503, {})
            return
        start, status = 0, 200
        wanted = self.headers.get("Range")
        if wanted and not hub.ignores_ranges:
            start, status = int(wanted.removeprefix("bytes=").partition("-")[0]), 206
        body = content[start:]
        blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{blob}"')
        self.send_header("X-Repo-Commit", hub.revisions[repository])
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = hub.cut_after.pop(file, None)
        if cut is not None:
            # From now on this file cannot be had, so that the library's own retries end.
            hub.broken[file] = True
            body = body[:cut]
            self.close_connection = True
        hub.served[file] = hub.served.get(file, 0) + len(body)
        self.wfile.write(body)

    def _plain(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()
