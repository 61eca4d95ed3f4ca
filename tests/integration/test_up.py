"""./dev up and ./dev tour, as far as the scripts behind them go: the whole system as a user runs it."""

from __future__ import annotations

import json
import os
import pty
import re
import runpy
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

import etcd
import harness
from harness import BUILD, ROOT, START_S, STOP_S
from system import DECLARED, DataFolder, cache_folder, service_names

# A whole system starts, or is walked through, within this.
SYSTEM_S = 3 * START_S


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, with this user's tools: systems of other tests are not seen in it."""
    tools = cache_folder() / "tools"
    folder = tmp_path_factory.mktemp("cache")
    (folder / "slipway").mkdir()
    (folder / "slipway/tools").symlink_to(tools)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "slipway"


class Up:
    """A running scripts/up on free ports."""

    def __init__(self, folder: Path, *flags: str, stdout: int | None = None) -> None:
        self.folder = folder
        self.data = DataFolder(folder / "data")
        folder.mkdir(exist_ok=True)
        with open(folder / "log", "wb") as log, open(folder / "table", "wb") as table:
            self.process = subprocess.Popen(
                [ROOT / "scripts/up", "--ports", "auto", "--data", self.data.path, "--build", BUILD, *flags],
                stdin=subprocess.DEVNULL,
                stdout=stdout if stdout is not None else log,
                stderr=table,
            )
        # The table comes after the file that says what runs.
        harness.until(
            lambda: "To try:" in self.table() or self.process.poll() is not None, SYSTEM_S, "up did not start"
        )
        self.services = self.data.running() or {}
        assert self.services, self.table()

    def table(self) -> str:
        return (self.folder / "table").read_text()

    def log(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOP_S)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """up(*flags): a system, stopped at the end where the test has not done so."""
    started: list[Up] = []

    def start(*flags: str, stdout: int | None = None) -> Up:
        started.append(Up(tmp_path, *flags, stdout=stdout))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            assert each.stop() == 0, each.table()


def try_up(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts/up", "--ports", "auto", "--data", folder / "data", "--build", BUILD, *flags],
        capture_output=True,
        text=True,
        timeout=SYSTEM_S,
        check=False,
    )


def ended(pid: int) -> bool:
    """Gone, or a zombie that nobody has waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_all_services_run_and_stop(up: Callable[..., Up]) -> None:
    system = up()
    assert set(system.services) == set(service_names())
    for name, service in system.services.items():
        assert httpx.get(f"http://{service['admin']}/readyz").status_code == 200
        assert re.search(rf"^{name} .*{service.get('grpc') or service['http']}", system.table(), re.MULTILINE)
    for command in re.findall(r"^  curl (http://\S+)$", system.table(), re.MULTILINE):
        assert httpx.get(command).status_code == 200
    assert system.stop() == 0
    assert system.data.running() is None
    stopped = [line for line in system.log() if line["message"] == "stopped"]
    assert len(stopped) == len(system.services)


def test_the_console_is_told_first_and_sees_all(up: Callable[..., Up]) -> None:
    system = up()
    first = system.table().splitlines()[0]
    told = re.fullmatch(r"console: (http://127\.0\.0\.1:\d+)/#token=([\w-]{20,})", first)
    assert told, first
    wanted = set(service_names()) - {"console"}

    def states() -> dict[str, str]:
        fleet = httpx.get(f"{told[1]}/api/fleet").json()
        assert fleet["mode"] == "local"
        return {one["name"]: one["replicas"][0]["state"] for one in fleet["services"]}

    def addresses() -> dict[str, str]:
        services = httpx.get(f"{told[1]}/api/interfaces").json()["services"]
        return {one["name"]: one["address"] for one in services}

    harness.until(lambda: states() == dict.fromkeys(wanted, "ready"), what="not all services are seen")
    harness.until(lambda: addresses()["countries"], what="the console does not know where countries is")
    asked = {"service": "countries", "path": "/countries?user_id=1234"}
    answer = httpx.post(f"{told[1]}/api/try", json=asked, headers={"x-console-token": told[2]})
    assert answer.json()["status"] == 200, answer.text
    assert (system.data.path / "console-token").stat().st_mode & 0o777 == 0o600


def test_dependants_stop_first(up: Callable[..., Up]) -> None:
    system = up()
    assert system.stop(signal.SIGTERM) == 0
    order = [line["serviceContext"]["service"] for line in system.log() if line["message"] == "stopped"]  # type: ignore[index]
    assert order.index("route-guide") < order.index("feature-store")
    assert order.index("countries") < order.index("users")


def test_data_outlives_it(up: Callable[..., Up]) -> None:
    first = up()
    note = {"title": "Milk", "body": "2 l", "tags": []}
    made = httpx.post(f"http://{first.services['notes']['http']}/v1/notes", json=note)
    assert made.status_code == 201
    assert first.stop() == 0
    second = up()
    read = httpx.get(f"http://{second.services['notes']['http']}/v1/notes/{made.json()['id']}")
    assert read.json() == made.json()


def test_replicas(up: Callable[..., Up]) -> None:
    etcd.program()  # or else skip
    system = up("--replicas", "2")
    more = {"etcd", *(f"{name}-2" for name, one in DECLARED.items() if one.store)}
    assert set(system.services) == set(service_names()) | more
    for name in more:
        assert re.search(rf"^{name} ", system.table(), re.MULTILINE)
    urls = [f"http://{system.services[name]['http']}/v1/notes" for name in ("notes", "notes-2")]
    made = httpx.post(urls[0], json={"title": "Milk", "body": "2 l", "tags": []}).json()
    assert httpx.get(f"{urls[1]}/{made['id']}").json() == made
    client = [harness.program("route-client"), "--server", system.services["route-guide"]["grpc"]]
    assert subprocess.run([*client, "--method", "SaveFeature", "--repeat", "20"], check=False).returncode == 0
    saved = r'^grpc_server_handled_total\{[^}]*grpc_method="SaveFeature",grpc_code="OK"\} [1-9]'
    for name in ("feature-store", "feature-store-2"):  # the route guide uses both
        metrics = httpx.get(f"http://{system.services[name]['admin']}/metrics").text
        assert re.search(saved, metrics, re.MULTILINE), name
    assert system.stop() == 0
    again = up("--replicas", "1")
    assert httpx.get(f"http://{again.services['notes']['http']}/v1/notes/{made['id']}").json() == made


def test_a_second_one_on_the_same_data_says_so(up: Callable[..., Up]) -> None:
    system = up()
    second = try_up(system.folder)
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr.count("\n") == 1
    assert f"pid {system.process.pid}" in second.stderr
    assert system.data.running() == system.services


def test_a_taken_port_is_named_with_its_holder(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        result = try_up(tmp_path, f"--port-demo={port}")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert f"port {port} (demo)" in result.stderr
    assert f"pid {os.getpid()}" in result.stderr


def test_a_data_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    result = try_up(tmp_path)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert str(tmp_path / "data") in result.stderr


def test_a_chosen_port_is_used(up: Callable[..., Up]) -> None:
    port = harness.free_port()
    assert up(f"--port-notes={port}").services["notes"]["http"] == f"127.0.0.1:{port}"


def test_a_service_that_dies_ends_it(up: Callable[..., Up]) -> None:
    system = up()
    os.kill(system.services["users"]["pid"], signal.SIGKILL)
    assert system.process.wait(STOP_S) == 1
    assert "users was ended by SIGKILL; its last lines:" in system.table()
    assert '"message":"ready"' in system.table()
    assert all(ended(service["pid"]) for service in system.services.values())


def test_killed_it_takes_its_services_along(up: Callable[..., Up]) -> None:
    system = up()
    system.process.kill()
    system.process.wait()
    harness.until(lambda: all(ended(service["pid"]) for service in system.services.values()), STOP_S)
    again = up()
    assert set(again.services) == set(system.services)


def shown(terminal: int, words: str) -> str:
    """The next line on a terminal that has these words, without colours."""
    seen = ""
    while not (found := re.search(rf"^.*{words}.*$", seen.rpartition("\n")[0], re.MULTILINE)):
        seen += os.read(terminal, 65536).decode()
    return re.sub(r"\033\[\d+m", "", found[0])


def test_on_a_terminal_the_log_is_readable(up: Callable[..., Up]) -> None:
    ours, theirs = pty.openpty()
    system = up(stdout=theirs)
    os.close(theirs)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    httpx.get(f"http://{system.services['demo']['http']}/demo/hello", headers=headers)
    line = shown(ours, "GET /demo/hello")
    assert re.search(r"\d\d:\d\d:\d\d\.\d{3} .*demo .*INFO .*GET /demo/hello 200 .*\d+\.\d\dms .*" + trace[:8], line)
    assert trace[:9] not in line and '"severity"' not in line
    client = [harness.program("route-client"), "--server", system.services["route-guide"]["grpc"]]
    assert subprocess.run(client, check=False, stdout=subprocess.DEVNULL).returncode == 0
    assert re.search(
        r"route-guide .* routeguide\.RouteGuide/GetFeature OK \d+\.\d\dms [0-9a-f]{8}\s*$", shown(ours, "GetFeature")
    )
    system.stop()
    os.close(ours)


def test_logs_are_kept_below_the_data(up: Callable[..., Up]) -> None:
    system = up()
    httpx.get(f"http://{system.services['demo']['http']}/demo/hello")
    assert system.stop() == 0
    for name in system.services:
        kept = [json.loads(line) for line in (system.data.path / f"log/{name}.log").read_text().splitlines()]
        assert kept == [line for line in system.log() if line["serviceContext"]["service"] == name]  # type: ignore[index]
    assert up().stop() == 0
    assert (system.data.path / "log/demo.log").read_text().count('"stopped"') == 2


def test_kept_logs_are_bounded(tmp_path: Path) -> None:
    log_file = runpy.run_path(str(ROOT / "scripts/up"))["LogFile"]
    file = log_file(tmp_path / "x.log")
    line = b"x" * (1 << 20)
    for _ in range(40):
        file.write(line)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == {"x.log", "x.log.1"} and max(sizes.values()) <= 16 << 20 < sum(sizes.values())


def tour(*flags: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts/tour", *map(str, flags)], capture_output=True, text=True, timeout=SYSTEM_S, check=False
    )


def test_tour_of_its_own(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("grpcurl")
    result = tour("--build", BUILD, "--data", tmp_path / "none")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.endswith(" answers, 0 not as they should be\n")
    assert "joined by its trace" in result.stdout


def test_tour_visits_what_runs_whatever_its_data_folder(up: Callable[..., Up], cache: Path) -> None:
    (cache / "running").mkdir()
    (cache / "running/1.json").write_text('{"root": "/", "data": "/nowhere"}')  # left by one that was killed
    system = up()
    result = tour("--build", BUILD)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"visiting the system on {system.data.path}\n" in result.stdout
    assert f"http://{system.services['demo']['http']}/demo/hello" in result.stdout
    assert "joined by its trace" in result.stdout
    assert [path.name for path in (cache / "running").iterdir()] == [f"{system.process.pid}.json"]
    assert system.stop() == 0
    assert not list((cache / "running").iterdir())


def test_tools_in_the_cache_are_found(
    up: Callable[..., Up], cache: Path, tool: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    grpcurl = tool("grpcurl")
    (cache / "tools").unlink()
    (cache / "tools").mkdir()
    (cache / "tools/grpcurl").symlink_to(grpcurl)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    system = up()
    assert re.search(rf"^  {cache}/tools/grpcurl -plaintext ", system.table(), re.MULTILINE)
    result = tour("--build", BUILD)
    assert result.returncode == 0 and f"$ {cache}/tools/grpcurl -plaintext" in result.stdout


def test_tour_fails_when_an_answer_is_wrong(up: Callable[..., Up], tmp_path: Path) -> None:
    system = up()
    wrong = tmp_path / "build"
    wrong.mkdir()
    (wrong / "route-client").symlink_to(str(shutil.which("false")))
    result = tour("--build", wrong, "--data", system.data.path)
    assert result.returncode == 1
    assert " answers, 1 not as they should be\n" in result.stdout
