"""Every image started for real: it becomes ready, serves, drains."""

import json
import os
import pathlib
import shutil
import socket

import container
import grpc
import oci
import pytest
from container import Container, get

from conftest import IMAGES, SERVICES

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="needs root, to start containers"),
    pytest.mark.skipif(shutil.which("runc") is None and not os.environ.get("CI"), reason="needs runc"),
]

# Bound at start, so that a symbol that is missing is seen.
ENV = {
    "BIND_ADDRESS": "127.0.0.1",
    "PORT": 0,
    "GRPC_PORT": 0,
    "METRICS_PORT": 0,
    "SHUTDOWN_DELAY_SECONDS": 0,
    "LD_BIND_NOW": 1,
}
POINT = bytes.fromhex("089aa68cc30110969f989cfdffffffff01")  # 409146138, -746188906
NAME = b"Berkshire Valley Management Area Trail, Jefferson, NJ, USA"


@pytest.fixture
def start(images, tmp_path):
    """Starts a service and, before it, those it calls; all have to drain with status 0 in the end."""
    running: dict[str, Container] = {}

    def start_one(name: str) -> Container:
        if name in running:
            return running[name]
        env = dict(ENV)
        if name == "countries":
            env["USERS_SERVICE_ADDR"] = f"127.0.0.1:{start_one('users').port('http')}"
        if name == "route-guide":
            env["FEATURE_STORE_SERVICE_ADDR"] = f"127.0.0.1:{start_one('feature-store').port('grpc')}"
        running[name] = Container(images[name], tmp_path / name, **env).wait_ready()
        return running[name]

    try:
        yield start_one
        for name, one in reversed(running.items()):
            assert one.terminate() == 0, f"{name}\n{one.log.read_text()}"
    finally:
        for one in running.values():
            one.__exit__()


def call(service: Container, method: str, request: bytes) -> bytes:
    with grpc.insecure_channel(f"127.0.0.1:{service.port('grpc')}") as channel:
        return channel.unary_unary(method)(request, timeout=10)


def serve_users(users: Container) -> None:
    status, body = get(f"http://127.0.0.1:{users.port('http')}/users/1234")
    assert status == 200 and json.loads(body)["user_id"] == "1234"


def serve_countries(countries: Container) -> None:
    status, body = get(f"http://127.0.0.1:{countries.port('http')}/countries?user_id=1234")
    assert status == 200 and set(json.loads(body)) == {"user_id", "name", "country"}


def serve_demo(demo: Container) -> None:
    assert get(f"http://127.0.0.1:{demo.port('http')}/demo/hello") == (200, b"hello, world!\n")


def serve_notes(notes: Container) -> None:
    base = f"http://127.0.0.1:{notes.port('http')}/v1/notes"
    status, body = get(base, json.dumps({"title": "a", "body": "b", "tags": []}).encode())
    assert status == 201
    assert get(f"{base}/{json.loads(body)['id']}")[0] == 200


def serve_feature_store(store: Container) -> None:
    point = bytes([len(POINT)]) + POINT
    assert call(store, "/routeguide.RouteGuide/SaveFeature", b"\x0a\x01x\x12" + point) == b"\x08\x01"
    assert b"x" in call(store, "/routeguide.RouteGuide/GetFeature", POINT)


def serve_route_guide(guide: Container) -> None:
    assert call(guide, "/grpc.health.v1.Health/Check", b"") == b"\x08\x01"
    assert NAME in call(guide, "/routeguide.RouteGuide/GetFeature", POINT)


SERVE = {
    "users": serve_users,
    "countries": serve_countries,
    "demo": serve_demo,
    "notes": serve_notes,
    "feature-store": serve_feature_store,
    "route-guide": serve_route_guide,
}


@pytest.mark.parametrize("name", SERVICES)
def test_service_starts_serves_and_drains(start, images, tmp_path, name):
    if not oci.Layout(images[name] / "oci").config()["config"]["ExposedPorts"]:
        with Container(images[name], tmp_path / name, "--help", LD_BIND_NOW=1) as job:  # it runs to its end
            assert job.process.wait(10) == 0, job.log.read_text()
        return
    service = start(name)
    if name in SERVE:
        SERVE[name](service)
    assert_restricted(service)


def assert_restricted(service: Container) -> None:
    pid = service.pid()
    status = dict(
        line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    assert status["Uid"].split() == [str(container.UID)] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0 and status["NoNewPrivs"] == "1"
    mounts = [line.split() for line in pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    writable = {mount[4] for mount in mounts if "rw" in mount[5].split(",")}
    assert writable <= {"/proc", "/dev", *service.config.get("Volumes", {})}


@pytest.mark.skipif("route-client" not in SERVICES, reason="there is no route-client")
def test_route_client_runs_to_its_end(start, images, tmp_path):
    guide = start("route-guide")
    server = f"127.0.0.1:{guide.port('grpc')}"
    with Container(images["route-client"], tmp_path / "client", "--server", server) as client:
        assert client.process.wait(30) == 0, client.log.read_text()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_etcd(images, tmp_path):
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    urls = ["--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer]
    peers = ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]
    with Container(images["etcd"], tmp_path / "etcd", "--data-dir", "/data/etcd", *urls, *peers) as etcd:
        etcd.until(lambda: get(f"{client}/health")[0] == 200, "/health")
        assert b'"etcdserver":"3.6' in get(f"{client}/version")[1]
        assert_restricted(etcd)
        assert etcd.terminate() == 0


def test_prometheus(images, tmp_path):
    url = f"127.0.0.1:{free_port()}"
    options = ["--config.file=/data/prometheus.yml", "--storage.tsdb.path=/data/tsdb", f"--web.listen-address={url}"]
    config = {"prometheus.yml": "global: {scrape_interval: 1s}\n"}
    with Container(images["prometheus"], tmp_path / "prometheus", *options, data=config) as prometheus:
        prometheus.until(lambda: get(f"http://{url}/-/ready")[0] == 200, "/-/ready")
        assert get(f"http://{url}/api/v1/query?query=1")[0] == 200
        assert_restricted(prometheus)
        assert prometheus.terminate() == 0


def test_backup_tools_runs_to_its_end(images, tmp_path):
    with Container(images["backup-tools"], tmp_path / "rclone", "version", "--config=") as rclone:
        assert rclone.process.wait(30) == 0, rclone.log.read_text()
        assert "rclone v" in rclone.log.read_text()


def test_every_image_is_started(images):
    assert set(images) == set(IMAGES) == set(SERVICES) | {"backup-tools", "etcd", "prometheus"}
