"""As much of Cloud Storage's API as Terraform's backend uses, so that its real code locks and stores states here.

Objects with generations, and writes and deletions that depend on them: that is what the backend makes its locks of.
"""

from __future__ import annotations

import hashlib
import json
import threading
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Object:
    generation: int
    content: bytes


@dataclass
class Bucket:
    """Bounded by its tests: they store a few states."""

    objects: dict[str, Object] = field(default_factory=dict)
    generation: int = 1000
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, name: str, content: bytes, expected: int | None) -> Object | None:
        """None if the object's generation is not the expected one; 0 is that of an object that is not there."""
        with self.lock:
            before = self.objects.get(name)
            if expected is not None and expected != (before.generation if before else 0):
                return None
            self.generation += 1
            self.objects[name] = Object(self.generation, content)
            return self.objects[name]

    def delete(self, name: str, expected: int | None) -> int:
        with self.lock:
            before = self.objects.get(name)
            if before is None:
                return 404
            if expected is not None and expected != before.generation:
                return 412
            del self.objects[name]
            return 204


class Storage:
    """with Storage() as storage: a server on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        self.buckets: dict[str, Bucket] = {}
        self.before_read: Callable[[str], None] = lambda name: None  # called with an object's name, may block
        handler = type("Bound", (Handler,), {"storage": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def environment(self) -> dict[str, str]:
        """What makes the backend ask this server."""
        return {
            "GOOGLE_BACKEND_STORAGE_CUSTOM_ENDPOINT": f"{self.url}/storage/v1/",
            "GOOGLE_OAUTH_ACCESS_TOKEN": "none",
        }

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.server.shutdown()
        self.server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    storage: Storage

    def log_message(self, format: str, *args: object) -> None:
        pass

    def parts(self) -> tuple[list[str], dict[str, str]]:
        url = urlsplit(self.path)
        path = url.path.removeprefix("/upload").removeprefix("/storage/v1")
        return [unquote(part) for part in path.strip("/").split("/")], {
            name: values[0] for name, values in parse_qs(url.query).items()
        }

    def answer(self, status: int, body: object = None, headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if status != 204:
            self.wfile.write(content)

    def refuse(self, status: int, message: str) -> None:
        self.answer(status, {"error": {"code": status, "message": message, "errors": [{"message": message}]}})

    def metadata(self, bucket: str, name: str, item: Object) -> dict[str, str]:
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": name,
            "generation": str(item.generation),
            "metageneration": "1",
            "size": str(len(item.content)),
            "md5Hash": b64encode(hashlib.md5(item.content, usedforsecurity=False).digest()).decode(),
        }

    def do_GET(self) -> None:
        parts, query = self.parts()
        json_api = parts[0] == "b"
        bucket_name, rest = (parts[1], parts[3:]) if json_api else (parts[0], parts[1:])
        bucket = self.storage.buckets.get(bucket_name)
        if bucket is None:
            return self.refuse(404, "The specified bucket does not exist.")
        if not rest:
            items = [
                self.metadata(bucket_name, name, item)
                for name, item in sorted(bucket.objects.items())
                if name.startswith(query.get("prefix", ""))
            ]
            return self.answer(200, {"kind": "storage#objects", "items": items})
        name = "/".join(rest)
        self.storage.before_read(name)
        item = bucket.objects.get(name)
        if item is None:
            return self.refuse(404, f"No such object: {bucket_name}/{name}")
        if json_api and query.get("alt") != "media":
            return self.answer(200, self.metadata(bucket_name, name, item))
        return self.answer(200, item.content, {"X-Goog-Generation": str(item.generation), "X-Goog-Metageneration": "1"})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        parts, query = self.parts()
        body = (
            self.rfile.read(int(self.headers["Content-Length"])) if "Content-Length" in self.headers else self.chunks()
        )
        if parts == ["b"]:
            self.storage.buckets.setdefault(query["name"], Bucket())
            return self.answer(200, {})
        name, content = query.get("name"), body
        if query.get("uploadType") == "multipart":
            first, content = self.multipart(body)
            name = json.loads(first)["name"]
        bucket = self.storage.buckets.get(parts[1])
        if bucket is None or name is None:
            return self.refuse(404, "The specified bucket does not exist.")
        expected = query.get("ifGenerationMatch")
        item = bucket.put(name, content, None if expected is None else int(expected))
        if item is None:
            return self.refuse(412, "conditionNotMet")
        return self.answer(200, self.metadata(parts[1], name, item))

    def chunks(self) -> bytes:
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def multipart(self, body: bytes) -> tuple[bytes, bytes]:
        boundary = self.headers.get_boundary() or self.headers.get_param("boundary") or ""
        sections = body.split(b"--" + str(boundary).encode())[1:3]
        first, second = (section.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for section in sections)
        return first, second

    def do_DELETE(self) -> None:
        parts, query = self.parts()
        bucket = self.storage.buckets.get(parts[1])
        expected = query.get("ifGenerationMatch") or query.get("generation")
        status = bucket.delete("/".join(parts[3:]), None if expected is None else int(expected)) if bucket else 404
        if status == 204:
            self.answer(204)
        else:
            self.refuse(status, "not deleted")
