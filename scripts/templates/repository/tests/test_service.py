"""The program as it runs: what it answers over HTTP and gRPC, and that it drains. Needs grpcurl.

$PROGRAM is the path of the program; `meson test -C build` sets it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import unittest
import urllib.error
import urllib.request
from typing import Any

PORTS_THAT_ARE_FREE = {"BIND_ADDRESS": "127.0.0.1", "PORT": "0", "GRPC_PORT": "0", "METRICS_PORT": "0"}
END_S = 30  # a bound, no expectation


class ServiceTest(unittest.TestCase):
    def setUp(self) -> None:
        env = os.environ | PORTS_THAT_ARE_FREE | {"SHUTDOWN_DELAY_SECONDS": "0"}
        self.process = subprocess.Popen([os.environ["PROGRAM"]], env=env, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.process.kill)
        self.addresses = self.listening()

    def listening(self) -> dict[str, str]:
        """The addresses of its log, by protocol, when it is ready."""
        found = {}
        assert self.process.stdout
        for line in map(json.loads, self.process.stdout):
            if line["message"] == "listening":
                found[line["protocol"]] = f"{line['address']}:{line['port']}"
            if line["message"] == "ready":
                return found
        raise AssertionError("it ended before it was ready")

    def tearDown(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=END_S)
        self.assertEqual(self.process.returncode, 0, "it did not drain")

    def get(self, path: str) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(f"http://{self.addresses['http']}{path}", timeout=END_S) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def call(self, message: str) -> subprocess.CompletedProcess[str]:
        command = ["grpcurl", "-plaintext", "-d", message, self.addresses["grpc"], "hello.Hello/Greet"]
        return subprocess.run(command, capture_output=True, text=True, timeout=END_S, check=False)

    def test_http(self) -> None:
        self.assertEqual(self.get("/hello/Ada"), (200, {"greeting": "Hello, Ada!"}))
        status, problem = self.get("/hello/" + "x" * 65)
        self.assertEqual((status, problem["detail"]), (400, "a name is UTF-8 and has 1 to 64 bytes"))

    def test_grpc(self) -> None:
        done = self.call('{"name": "Ada"}')
        self.assertEqual((done.returncode, done.stdout), (0, '{\n  "greeting": "Hello, Ada!"\n}\n'), done.stderr)
        done = self.call('{"name": ""}')
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("InvalidArgument", done.stderr)


if __name__ == "__main__":
    unittest.main()
