"""Backups that leave the cluster: the commands of the job etcd-backup, as k8s/overlays/prod has them, with a real etcd and
an object store; and the way back."""

from __future__ import annotations

import contextlib
import http.server
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

import etcd
import harness
from harness import BUILD, ROOT
from system import find_etcd
from test_backup import TIMEOUT, member, run, secrets  # noqa: F401 - a fixture

TOOLS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "slipway/tools"
PATH = f"{os.environ['PATH']}:{TOOLS}"
BUCKET = "slipway-test-backups"


def tool(name: str) -> str:
    """Where CI is set there has to be one."""
    found = shutil.which(name, path=PATH)
    if found is None and not os.environ.get("CI"):
        pytest.skip(f"no {name}")
    assert found, f"no {name}"
    return found


@dataclass
class Storage:
    """fake-gcs-server, and before it what admits as roles/storage.objectCreator does: uploads of new objects."""

    url: str  # of everything
    creator_url: str  # of the role
    calls: list[str] = field(default_factory=list)

    def settings(self, url: str) -> dict[str, str]:
        return {
            "RCLONE_CONFIG_STORE_ENDPOINT": f"{url}/storage/v1/",
            "RCLONE_CONFIG_STORE_ANONYMOUS": "true",
            "RCLONE_CONFIG_STORE_ENV_AUTH": "false",
        }

    def objects(self) -> list[dict[str, Any]]:
        return httpx.get(f"{self.url}/storage/v1/b/{BUCKET}/o").json().get("items", [])


def creator(storage: Storage) -> type[http.server.BaseHTTPRequestHandler]:
    class Creator(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            return b"".join(parts)

        def do_POST(self) -> None:
            content = self.body()
            headers = {"Content-Type": self.headers["Content-Type"]}
            request = urllib.request.Request(storage.url + self.path, content, headers, method="POST")
            with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:
                self.answer(reply.status, reply.read())

        def refuse(self) -> None:
            storage.calls.append(f"{self.command} {self.path}")
            self.answer(403, b'{"error": {"code": 403, "message": "storage.objects.get denied"}}')

        do_GET = do_PUT = do_DELETE = do_PATCH = refuse

    return Creator


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    (tmp_path / "storage" / BUCKET).mkdir(parents=True)
    with socket.socket() as free:  # it takes no port that is held for it, nor does it say which one it took
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [tool("fake-gcs-server"), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-backend", "memory", "-data", str(tmp_path / "storage")]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = Storage(f"http://127.0.0.1:{port}", "")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), creator(found))
    found.creator_url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:

        def there() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return httpx.get(f"{found.url}/storage/v1/b/{BUCKET}").status_code == 200
            return False

        harness.until(there, what="fake-gcs-server does not start")
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        process.kill()
        process.wait()


def overlay(name: str) -> list[dict[str, Any]]:
    command = [tool("kustomize"), "build", ROOT / "k8s/overlays" / name]
    return list(yaml.safe_load_all(subprocess.run(command, capture_output=True, check=True).stdout))


def step(name: str) -> dict[str, Any]:
    (job,) = (
        each for each in overlay("prod") if each["kind"] == "CronJob" and each["metadata"]["name"] == "etcd-backup"
    )
    (found,) = (
        each
        for each in job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["initContainers"]
        if each["name"] == name
    )
    return found


def execute(name: str, places: dict[str, str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A container's command, with its folders elsewhere and its variables as the kubelet sets them."""
    container = step(name)
    values = {each["name"]: each["value"] for each in container.get("env", []) if "value" in each} | env

    def here(text: str) -> str:
        for variable, value in values.items():
            text = text.replace(f"$({variable})", value)
        for place, folder in places.items():
            text = text.replace(place, folder)
        return text

    program, *words = container["command"]
    programs = {"etcdctl": Path(find_etcd()).with_name("etcdctl"), "etcdutl": Path(find_etcd()).with_name("etcdutl")}
    program = str(programs.get(Path(program).name) or tool(Path(program).name))
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("ETCD", "RCLONE"))}
    return subprocess.run(
        [program, *map(here, words)],
        env=clean | {key: here(value) for key, value in values.items()},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def keys(folder: Path) -> tuple[Path, str]:
    """An identity in a file, and its public part."""
    identity = folder / "identity"
    subprocess.run([tool("age-keygen"), "-o", identity], check=True, capture_output=True)
    said = subprocess.run([tool("age-keygen"), "-y", identity], check=True, capture_output=True, text=True)
    return identity, said.stdout.strip()


def backed_up(folder: Path, tls: Path, address: str, recipient: str, storage: Storage, pod: str) -> None:
    """What the job does, but reading the records: scripts/backup does that again."""
    folder.mkdir()
    (folder / "recipients").write_text(recipient)
    places = {"/data/": f"{folder}/", "/tls/": f"{tls}/", "/backup/": f"{folder}/"}
    client = {"ETCDCTL_ENDPOINTS": f"https://{address}"}
    bucket = {"BUCKET": BUCKET, "POD_NAME": pod} | storage.settings(storage.creator_url)
    for name, env in (("save", client), ("restore", {}), ("encrypt", {}), ("upload", bucket)):
        done = execute(name, places, env)
        assert done.returncode == 0, f"{name}: {done.stderr}"
    assert (folder / "snapshot").read_bytes()[:16] != (folder / "snapshot.age").read_bytes()[:16]


def write_notes(url: str, count: int) -> None:
    with httpx.Client() as client:
        for n in range(count):
            note = {"title": f"n{n}", "body": "x" * 200, "tags": []}
            assert client.post(f"{url}/v1/notes", json=note).status_code == 201


def test_to_the_bucket_and_back(secrets: Path, start, tmp_path: Path, storage: Storage):  # noqa: F811
    """By an account that can only add objects; with a key that is not in the cluster; the newest one."""
    identity, recipient = keys(tmp_path)
    tls = tmp_path / "etcd-client"
    query = f"?ca={tls / 'ca.crt'}&cert={tls / 'tls.crt'}&key={tls / 'tls.key'}"
    with member(tmp_path / "before", tmp_path / "etcd-server") as address:
        notes = start("notes", STORE_URL=f"etcd://{address}/notes{query}")
        write_notes(notes.http_url, 3)
        backed_up(tmp_path / "first", tls, address, recipient, storage, "etcd-backup-1-aaaaa")
        write_notes(notes.http_url, 4)
        backed_up(tmp_path / "second", tls, address, recipient, storage, "etcd-backup-2-bbbbb")
        notes.stop()
    assert [each["name"] for each in storage.objects()] == [
        "etcd/etcd-backup-1-aaaaa.age",
        "etcd/etcd-backup-2-bbbbb.age",
    ]
    assert storage.calls and not [call for call in storage.calls if not call.startswith("GET ")], storage.calls
    env = storage.settings(storage.url) | {"PATH": PATH}
    fetched = run(ROOT / "scripts/backup", "fetch", BUCKET, identity, tmp_path / "saved", **env)
    assert fetched.returncode == 0, fetched.stderr
    assert fetched.stdout.startswith("notes: notes 7,"), fetched.stdout
    restored = run(ROOT / "scripts/backup", "restore", tmp_path / "saved", tmp_path / "restored", **env)
    assert restored.stdout == fetched.stdout
    named = run(ROOT / "scripts/backup", "fetch", BUCKET, identity, tmp_path / "old", "etcd-backup-1-aaaaa.age", **env)
    assert named.stdout.startswith("notes: notes 3,"), named.stderr


def test_damaged_or_foreign_backups_are_refused(secrets: Path, start, tmp_path: Path, storage: Storage):  # noqa: F811
    identity, recipient = keys(tmp_path)
    tls = tmp_path / "etcd-client"
    with member(tmp_path / "data", tmp_path / "etcd-server") as address:
        query = f"?ca={tls / 'ca.crt'}&cert={tls / 'tls.crt'}&key={tls / 'tls.key'}"
        start("notes", STORE_URL=f"etcd://{address}/notes{query}").stop()
        backed_up(tmp_path / "job", tls, address, recipient, storage, "etcd-backup-1-aaaaa")
    (tmp_path / "elsewhere").mkdir()
    other, _ = keys(tmp_path / "elsewhere")
    env = storage.settings(storage.url) | {"PATH": PATH}
    done = run(ROOT / "scripts/backup", "fetch", BUCKET, other, tmp_path / "saved", **env)
    assert done.returncode == 1 and "age: " in done.stderr and not (tmp_path / "saved").exists()
    content = bytearray((tmp_path / "job/snapshot.age").read_bytes())
    content[len(content) // 2] ^= 1
    upload = f"{storage.url}/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name=etcd/etcd-backup-9-zzzzz.age"
    assert httpx.post(upload, content=bytes(content)).status_code == 200
    done = run(ROOT / "scripts/backup", "fetch", BUCKET, identity, tmp_path / "saved", "etcd-backup-9-zzzzz.age", **env)
    assert done.returncode == 1 and "age: " in done.stderr and not (tmp_path / "saved").exists()


@pytest.mark.parametrize("recipients", ["any", "the public key that age-keygen printed for prod"])
def test_without_a_recipient_nothing_is_stored(tmp_path: Path, recipients: str):
    (tmp_path / "snapshot").write_bytes(b"x")
    (tmp_path / "recipients").write_text(recipients)
    places = {"/data/": f"{tmp_path}/", "/backup/": f"{tmp_path}/"}
    assert execute("encrypt", places, {}).returncode != 0
    assert not (tmp_path / "snapshot.age").exists()


def test_how_long_a_restoration_takes(secrets: Path, start, tmp_path: Path, storage: Storage, record_property):  # noqa: F811
    """Measured, not judged: from the bucket to a store of an empty etcd that holds the same."""
    identity, recipient = keys(tmp_path)
    tls, count = tmp_path / "etcd-client", int(os.environ.get("BACKUP_NOTES", "20"))
    query = f"?ca={tls / 'ca.crt'}&cert={tls / 'tls.crt'}&key={tls / 'tls.key'}"
    with member(tmp_path / "before", tmp_path / "etcd-server") as address:
        notes = start("notes", STORE_URL=f"etcd://{address}/notes{query}")
        write_notes(notes.http_url, count)
        notes.stop()
        began = time.monotonic()
        backed_up(tmp_path / "job", tls, address, recipient, storage, "etcd-backup-1-aaaaa")
        taken = time.monotonic() - began
    env = storage.settings(storage.url) | {"PATH": PATH}
    began = time.monotonic()
    done = run(ROOT / "scripts/backup", "fetch", BUCKET, identity, tmp_path / "saved", **env)
    assert done.returncode == 0, done.stderr
    assert run(ROOT / "scripts/backup", "restore", tmp_path / "saved", tmp_path / "restored", **env).returncode == 0
    with (
        etcd.running(tmp_path / "restored") as scratch,
        member(tmp_path / "after", tmp_path / "etcd-server") as address,
    ):
        for words in (
            ("export", f"etcd://{scratch}/notes", tmp_path / "notes.export"),
            ("import", f"etcd://{address}/notes{query}", tmp_path / "notes.export"),
            ("verify", f"etcd://{address}/notes{query}", tmp_path / "notes.export"),
        ):
            moved = run(harness.program("store-tool"), *words)
            assert moved.returncode == 0, moved.stderr
    restored = time.monotonic() - began
    report = f"{count} notes: backup {taken:.1f} s, restoration {restored:.1f} s\n{done.stderr}"
    record_property("report", report)
    print(report)
    assert BUILD.exists()
