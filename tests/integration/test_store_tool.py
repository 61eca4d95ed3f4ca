"""store-tool, scripts/backup, and data of released versions: what is moved, kept or old is all there."""

from __future__ import annotations

import contextlib
import json
import lzma
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

import etcd
import harness
from harness import BUILD, ROOT, Service

FIXTURES = ROOT / "tests/fixtures"
TIMEOUT = 60


def tool(*args: object, wait: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [harness.program("store-tool"), *map(str, args)], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


def backup(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts/backup", *map(str, args)],
        env=os.environ | {"SLIPWAY_BUILD": str(BUILD)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def digest(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout.split(": ", 1)[1]


def create(service: Service, title: str, key: str | None = None, client: Any = httpx) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    note = {"title": title, "body": "b" * 1000, "tags": ["t"]}
    answer = client.post(f"{service.http_url}/v1/notes", json=note, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer


def listed(service: Service) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = httpx.get(f"{service.http_url}/v1/notes?limit=100{cursor}").json()
        found += page["notes"]
        if not page["next_cursor"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def fill(service: Service, count: int = 30) -> list[dict[str, Any]]:
    """Notes, some of them changed later: those are where values refer to seqs."""
    with httpx.Client() as client:
        ids = [create(service, f"n{i}", f"key-{i}", client).json()["id"] for i in range(count)]
        for note in ids[::3]:
            changed = {"title": "changed", "body": "", "tags": []}
            assert client.put(f"{service.http_url}/v1/notes/{note}", json=changed).status_code == 200
    return listed(service)


@pytest.fixture
def exported(start, tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    """An export, and the notes in it."""
    notes = start("notes")
    there = fill(notes)
    path = tmp_path / "export"
    assert tool("export", f"lmdb://{notes.data}", path).returncode == 0  # while it runs
    return path, there


def test_another_folder(exported, start, tmp_path: Path):
    path, there = exported
    url = f"lmdb://{tmp_path / 'other'}"
    assert digest(tool("import", url, path)) == digest(tool("verify", path)) == digest(tool("verify", url))
    assert "already" in tool("import", url, path).stderr
    notes = start("notes", STORE_URL=url)
    assert listed(notes) == there
    again = create(notes, "n3", "key-3")  # was changed since: the first answer is repeated
    assert again.json()["title"] == "n3" and again.headers["etag"] == '"7"'
    assert listed(notes) == there
    create(notes, "newest")
    assert listed(notes)[0]["title"] == "newest"
    assert tool("verify", url, path).returncode == 1


def test_to_etcd_and_back(exported, start, tmp_path: Path):
    path, there = exported
    back = tmp_path / "back"
    with etcd.running(tmp_path / "etcd") as address:
        url = f"etcd://{address}/notes"
        assert digest(tool("import", url, path)) == digest(tool("verify", url))
        assert tool("import", url, path).returncode == 0
        notes = start("notes", STORE_URL=url)
        assert listed(notes) == there
        read = httpx.get(f"{notes.http_url}/v1/notes/{there[4]['id']}")
        changed = {"title": "moved", "body": "", "tags": []}
        for expected in (200, 412):  # the tag of before the move, once
            headers = {"If-Match": read.headers["etag"]}
            answer = httpx.put(f"{notes.http_url}/v1/notes/{there[4]['id']}", json=changed, headers=headers)
            assert answer.status_code == expected
        create(notes, "newest")
        now = listed(notes)
        assert now[0]["title"] == "newest" and [note["id"] for note in now[1:]] == [note["id"] for note in there]
        assert tool("export", url, back).returncode == 0
        notes.stop()
    assert tool("import", f"lmdb://{tmp_path / 'home'}", back).returncode == 0
    assert listed(start("notes", STORE_URL=f"lmdb://{tmp_path / 'home'}")) == now


@pytest.mark.parametrize("stopped", [False, True])
def test_an_export_that_hangs_ends(start, tmp_path: Path, stopped: bool):
    """It holds a snapshot, and so all that is deleted meanwhile."""
    notes = start("notes")
    fill(notes, 100)
    out = tmp_path / "pipe"
    os.mkfifo(f"{out}.new")
    command = [harness.program("store-tool"), "export", f"lmdb://{notes.data}", out, "1"]
    if "TSAN_OPTIONS" in os.environ and not stopped:
        pytest.skip("TSan keeps a signal back until the next call that it knows")
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with open(f"{out}.new", "rb", buffering=0) as pipe:
        assert pipe.read(1)  # and no more
        if stopped:
            process.send_signal(signal.SIGSTOP)
        _, said = process.communicate(timeout=TIMEOUT)
    assert process.returncode == (-signal.SIGKILL if stopped else 1)
    assert stopped or said == "store-tool: it hangs: ended, so that the store can use its room again\n"


@pytest.mark.parametrize("engine", ["lmdb", "etcd"])
def test_interrupted(engine: str, start, tmp_path: Path):
    """An import that has ended early leaves what no service takes; repeated, it is complete."""
    notes = start("notes")
    there = fill(notes, 400)
    path = tmp_path / "export"
    assert tool("export", f"lmdb://{notes.data}", path).returncode == 0
    with etcd.running(tmp_path / "etcd") if engine == "etcd" else contextlib.nullcontext() as address:
        url = f"etcd://{address}/notes" if engine == "etcd" else f"lmdb://{tmp_path / 'other'}"
        assert tool("import", url, path, 300_000).returncode == 1  # there is no room for all
        for refused in (tool("verify", url), harness.run("notes", folder=tmp_path / "refused", STORE_URL=url)):
            assert refused.returncode == 1 and "interrupted" in refused.stderr
        other = tmp_path / "another"
        assert tool("export", f"lmdb://{start('notes').data}", other).returncode == 0
        refused = tool("import", url, other)
        assert refused.returncode == 1 and "import" in refused.stderr
        for delay in (0.001, 0.01, 0.02, 0.04, 0.08):  # and killed at any moment
            process = subprocess.Popen([harness.program("store-tool"), "import", url, path], stderr=subprocess.DEVNULL)
            killer = threading.Timer(delay, process.kill)
            killer.start()
            process.wait()
            killer.cancel()
        assert digest(tool("import", url, path)) == digest(tool("verify", path)) == digest(tool("verify", url))
        again = start("notes", STORE_URL=url)
        assert listed(again) == there
        again.stop()


def test_what_is_there_stays(exported, start):
    path, _ = exported
    notes = start("notes")
    create(notes, "mine")
    notes.stop()
    refused = tool("import", f"lmdb://{notes.data}", path)
    assert refused.returncode == 1 and "not empty" in refused.stderr
    assert [note["title"] for note in listed(notes.restart())] == ["mine"]


def tags(service: Service, count: int) -> list[str]:
    """Entity tags of a note's new versions."""
    note = create(service, "tagged").json()["id"]
    changed = {"title": "t", "body": "", "tags": []}
    with httpx.Client(base_url=service.http_url) as client:
        return [client.put(f"/v1/notes/{note}", json=changed).headers["etag"] for _ in range(count)]


def refuses(service: Service, note: str, tag: str) -> bool:
    changed = {"title": "overwritten", "body": "", "tags": []}
    answer = httpx.put(f"{service.http_url}/v1/notes/{note}", json=changed, headers={"If-Match": tag})
    return answer.status_code == 412


@pytest.mark.parametrize("engine", ["lmdb", "etcd"])
def test_tags_of_lost_writes_never_match(engine: str, start, tmp_path: Path):
    """An export that lacks the last writes is restored: no tag of theirs is given out again."""
    path = tmp_path / "export"
    with contextlib.ExitStack() as stack:
        folders = [tmp_path / "one", tmp_path / "other"]
        addresses = [stack.enter_context(etcd.running(folder)) for folder in folders] if engine == "etcd" else folders
        url, other = (f"{engine}://{address}/notes" for address in addresses)
        for folder in folders:
            folder.mkdir(exist_ok=True)
        notes = start("notes", STORE_URL=url)
        there = fill(notes)
        notes.stop()
        assert tool("export", url, path).returncode == 0
        notes.restart()
        lost = tags(notes, 10)
        notes.stop()
        assert digest(tool("restore", other, path)) == digest(tool("verify", path))
        assert tool("verify", other, path).returncode == 0
        notes = start("notes", STORE_URL=other)
        assert listed(notes) == there
        assert not set(lost) & set(tags(notes, 100))
        assert refuses(notes, there[0]["id"], lost[0])


def test_tags_of_before_a_snapshot_was_restored_never_match(start, tmp_path: Path):
    saved, data = tmp_path / "backup", tmp_path / "restored"
    view = tmp_path / "view"
    with etcd.running(tmp_path / "etcd") as address:
        notes = start("notes", STORE_URL=f"etcd://{address}/notes?view={view}")
        there = fill(notes)
        done = backup("save", address, saved)
        assert done.returncode == 0, done.stderr
        lost = tags(notes, 10)
        notes.stop()
    done = backup("restore", saved, data)
    assert done.returncode == 0, done.stderr
    with etcd.running(data) as address:
        notes = start("notes", STORE_URL=f"etcd://{address}/notes?view={view}")
        assert listed(notes) == there, "the view goes on as if nothing were lost"
        assert not set(lost) & set(tags(notes, 100))
        assert refuses(notes, there[0]["id"], lost[0])
        kept = httpx.get(f"{notes.http_url}/v1/notes/{there[0]['id']}").headers["etag"]
        assert not refuses(notes, there[0]["id"], kept)


def test_damaged(exported, tmp_path: Path):
    """Every damage is found before anything is made."""
    path, _ = exported
    good = path.read_bytes()
    damages = [good[:-1], good[: len(good) // 2], good + b"\0", b"", good[:20], b"x" + good[1:]]
    for at in range(0, len(good), len(good) // 40):
        damages.append(good[:at] + bytes([good[at] ^ 0x40]) + good[at + 1 :])
    bad = tmp_path / "bad"
    for damage in damages:
        bad.write_bytes(damage)
        done = tool("import", f"lmdb://{tmp_path / 'never'}", bad)
        assert done.returncode == 1 and done.stderr.startswith("store-tool: "), done
        assert not (tmp_path / "never").exists()


def test_another_services(exported, start, tmp_path: Path):
    path, _ = exported
    url = f"lmdb://{tmp_path / 'other'}"
    assert tool("import", url, path).returncode == 0
    refused = harness.run("feature-store", folder=tmp_path / "refused", STORE_URL=url)
    assert refused.returncode == 1 and "another service's" in refused.stderr


WRONG = [[], ["export"], ["export", "lmdb:///x"], ["nonsense", "a", "b"], ["verify"], ["defragment"]]


@pytest.mark.parametrize("args", WRONG)
def test_wrong_arguments(args: list[str]):
    done = tool(*args)
    assert done.returncode == 2 and "Usage" in done.stderr


REFUSED = [
    (["lmdb:///x"], 1, "store lmdb:///x: it uses what is free again by itself"),
    (["ftp://x/y"], 1, "store ftp://x/y: expected lmdb:///DIR or etcd://HOST:PORT/PREFIX"),
    (["etcd://127.0.0.1:1"], 1, "store etcd://127.0.0.1:1: there is no PREFIX"),
    (["etcd://127.0.0.1:1/x", "101"], 2, '"101" is not a percentage'),
]


@pytest.mark.parametrize(("args", "status", "said"), REFUSED)
def test_not_to_be_defragmented(args: list[str], status: int, said: str):
    done = tool("defragment", *args)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", f"store-tool: {said}\n")


@pytest.mark.parametrize("url", ["lmdb:///nonexistent/folder", "etcd://127.0.0.1/x", "ftp://x/y"])
def test_nothing_to_export(url: str, tmp_path: Path):
    done = tool("export", url, tmp_path / "file")
    assert done.returncode == 1 and done.stderr.startswith("store-tool: ")
    assert list(tmp_path.iterdir()) == []


def test_backup_under_load(start, tmp_path: Path):
    """Everything that was acknowledged before the snapshot is in what is restored, and nothing that was not sent."""
    saved, data = tmp_path / "backup", tmp_path / "restored"
    with etcd.running(tmp_path / "etcd") as address:
        notes = start("notes", STORE_URL=f"etcd://{address}/notes")
        before = {note["id"] for note in fill(notes)}
        sent: list[str] = []
        enough = threading.Event()

        def load() -> None:
            while not enough.is_set():
                sent.append(create(notes, f"m{len(sent)}").json()["id"])

        thread = threading.Thread(target=load)
        thread.start()
        done = backup("save", address, saved)
        enough.set()
        thread.join()
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("notes: notes ") and done.stdout == (tmp_path / "backup.contents").read_text()
        notes.stop()
    done = backup("restore", saved, data)
    assert done.returncode == 0, done.stderr
    with etcd.running(data) as address:
        assert f"notes: {digest(tool('verify', f'etcd://{address}/notes'))}" == done.stdout
        notes = start("notes", STORE_URL=f"etcd://{address}/notes")
        there = {note["id"] for note in listed(notes)}
        assert before <= there <= before | set(sent)
        create(notes, "afterwards")
        notes.stop()
    assert backup("restore", saved, data).returncode == 1  # it is there already
    bytes_ = bytearray(saved.read_bytes())
    bytes_[len(bytes_) // 2] ^= 1
    saved.write_bytes(bytes_)
    assert backup("restore", saved, tmp_path / "never").returncode == 1
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("version", sorted(path.name for path in FIXTURES.iterdir() if path.is_dir()))
def test_data_of_a_released_version(version: str, start, tmp_path: Path):
    """The databases that tests/fixtures/make has made with that version are read, and go on being written."""
    fixture = FIXTURES / version
    for name in ("notes", "feature-store"):
        export = tmp_path / f"{name}.export"
        export.write_bytes(lzma.decompress((fixture / f"{name}.export.xz").read_bytes()))
        data = tmp_path / name
        data.mkdir()
        (data / "data.mdb").write_bytes(lzma.decompress((fixture / f"{name}.mdb.xz").read_bytes()))
        assert digest(tool("verify", f"lmdb://{data}", export)) != ""
        service = start(name, STORE_URL=f"lmdb://{data}")
        if name == "notes":
            assert listed(service) == json.loads((fixture / "notes.json").read_text())
            create(service, "newest")
            assert listed(service)[0]["title"] == "newest"
        service.stop()
