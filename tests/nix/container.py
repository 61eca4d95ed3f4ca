"""container -- an image started for real under runc, as Kubernetes would start a restricted pod: read-only root, no
capabilities, no new privileges, an arbitrary high UID, nothing writable but its volumes. In the host's network."""

import io
import json
import os
import pathlib
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from typing import Self

import layer
import oci

UID = 1_234_567_890  # no image can know it
START_S, STOP_S = 20, 60


def unpack(image: pathlib.Path, root: pathlib.Path) -> dict:
    """Unpacks an image's layers into root; returns its configuration."""
    layout = oci.Layout(image / "oci")
    root.mkdir(parents=True)
    for entry in layout.manifest()["layers"]:
        archive = root.parent / "layer.tar"
        archive.write_bytes(layer.decompress(layout.read(entry)))
        subprocess.run(["tar", "-xpf", archive, "--numeric-owner", "-C", root], check=True)
        archive.unlink()
    return layout.config()["config"]


def members(image: pathlib.Path) -> list[tarfile.TarInfo]:
    """The entries of all layers, as they are in the archives."""
    layout, found = oci.Layout(image / "oci"), []
    for entry in layout.manifest()["layers"]:
        with tarfile.open(fileobj=io.BytesIO(layer.decompress(layout.read(entry)))) as tar:
            found += tar.getmembers()
    return found


class Container:
    def __init__(
        self, image: pathlib.Path, folder: pathlib.Path, *args: str, data: dict[str, str] | None = None, **env: object
    ) -> None:
        """data: files that are in /data before the start."""
        self.folder, self.id = folder, f"slipway-{os.getpid()}-{folder.name}"
        self.config = unpack(image, folder / "rootfs")
        self.log = folder / "log"
        (folder / "config.json").write_text(json.dumps(self._bundle(args, env)))
        for name, text in (data or {}).items():
            (self.volume("/data") / name).write_text(text)
        self.started = time.monotonic()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*self._runc(), "run", "--bundle", folder, self.id], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        subprocess.run([*self._runc(), "delete", "--force", self.id], check=False, capture_output=True)
        if self.process.poll() is None:
            self.process.wait(STOP_S)

    def _runc(self) -> list[str]:
        return ["runc", "--root", str(self.folder / "state")]

    def _bundle(self, args: tuple[str, ...], env: dict[str, object]) -> dict:
        mounts = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
        ]
        for volume in self.config.get("Volumes", {}):
            source = self.volume(volume)
            source.mkdir(mode=0o700)
            os.chown(source, UID, UID)
            options = ["bind", "rw", "nosuid", "nodev"]
            mounts.append({"destination": volume, "type": "bind", "source": str(source), "options": options})
        nothing = {name: [] for name in ("bounding", "effective", "inheritable", "permitted", "ambient")}
        return {
            "ociVersion": "1.0.2",
            "root": {"path": str(self.folder / "rootfs"), "readonly": True},
            "process": {
                "user": {"uid": UID, "gid": UID},
                "args": [*self.config["Entrypoint"], *args],
                "env": [*self.config["Env"], *(f"{name}={value}" for name, value in env.items())],
                "cwd": self.config["WorkingDir"],
                "capabilities": nothing,
                "noNewPrivileges": True,
                "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 4096, "soft": 4096}],
            },
            "mounts": mounts,
            "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]},
        }

    def lines(self) -> list[dict]:
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"message": line})
        return [line for line in found if isinstance(line, dict)]

    def until(self, condition, what: str, timeout: float = START_S):
        deadline = time.monotonic() + timeout
        while not (result := condition()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.config['Entrypoint']}: {what} did not come\n{self.log.read_text()}")
            time.sleep(0.002)
        return result

    def port(self, protocol: str) -> int:
        def found():
            for line in self.lines():
                if line.get("message") == "listening" and line.get("protocol") == protocol:
                    return line["port"]

        return self.until(found, f"a line that says where {protocol} listens")

    def wait_ready(self) -> "Container":
        admin = self.port("admin")
        self.until(lambda: get(f"http://127.0.0.1:{admin}/readyz")[0] == 200, "/readyz")
        return self

    def pid(self) -> int:
        state = subprocess.run([*self._runc(), "state", self.id], check=True, capture_output=True, text=True).stdout
        return json.loads(state)["pid"]

    def volume(self, path: str) -> pathlib.Path:
        return self.folder / ("volume" + path.replace("/", "-"))

    def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        subprocess.run([*self._runc(), "kill", self.id, "TERM"], check=True)
        return self.process.wait(STOP_S)


def get(url: str, data: bytes | None = None) -> tuple[int, bytes]:
    """Status and body; (0, b"") where nobody answers."""
    headers = {"Content-Type": "application/json"} if data else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""
