"""Registries on loopback for tests: Debian's, and one whose tags cannot be moved, as Artifact Registry has them."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator

CONFIG = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
MANIFEST = re.compile(r"/v2/(?P<name>.+)/manifests/(?P<reference>[^/]+)")
HOP = {"connection", "transfer-encoding", "host"}
BODY_MAX = 256 << 20


@contextlib.contextmanager
def serve(folder: pathlib.Path) -> Iterator[str]:
    """HOST:PORT of a docker-registry, which lists no referrers and lets any tag be moved."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    (folder / "config.yml").write_text(CONFIG.format(folder=folder / "data", port=port))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=1)
                break
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


class Immutable(http.server.ThreadingHTTPServer):
    """Hands requests on to a registry, but refuses to move a tag, except in repositories whose name matches `mutable`."""

    daemon_threads = True

    def __init__(self, registry: str, mutable: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.registry, self.mutable = registry, re.compile(mutable)
        self.refused: list[str] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes is none."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Immutable

    def forward(self) -> None:
        body = self.body()
        if self.command == "PUT" and self.moves_a_tag(body):
            self.server.refused.append(self.path)
            text = b'{"errors": [{"code": "TAG_INVALID", "message": "the tag is immutable"}]}'
            self.reply(400, {"Content-Type": "application/json"}, text)
            return
        status, headers, answer = self.ask(self.command, self.path, body, dict(self.headers))
        self.reply(status, headers, answer)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = forward

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            chunks = []
            while size := int(self.rfile.readline(32), 16):
                assert size + sum(map(len, chunks)) <= BODY_MAX
                chunks.append(self.rfile.read(size))
                self.rfile.readline(8)
            self.rfile.readline(8)
            return b"".join(chunks)
        size = int(self.headers.get("Content-Length", 0))
        assert size <= BODY_MAX
        return self.rfile.read(size)

    def moves_a_tag(self, body: bytes) -> bool:
        match = MANIFEST.fullmatch(self.path)
        if not match or ":" in match["reference"] or self.server.mutable.search(match["name"]):
            return False
        accepted = {"Accept": self.headers.get("Content-Type", "*/*")}
        status, _, there = self.ask("GET", self.path, b"", accepted)
        return status == 200 and there != body

    def ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        kept = {name: value for name, value in headers.items() if name.lower() not in HOP | {"content-length"}}
        connection = http.client.HTTPConnection(self.server.registry, timeout=60)
        try:
            connection.request(method, path, body, kept | {"Content-Length": str(len(body))})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() == "location":
                value = value.replace(self.server.registry, self.server.address)
            if name.lower() not in HOP | ({"content-length"} if self.command != "HEAD" else set()):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def immutable(registry: str, mutable: str = r"-signatures/[^/]+$") -> Iterator[Immutable]:
    server = Immutable(registry, mutable)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(20)
