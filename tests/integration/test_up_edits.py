"""./dev up while the sources are edited: in a copy of the tree and of the build, which a mount namespace puts in the place of
this one, for a build folder works at its own path only. With a service that has both HTTP and gRPC."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from checks import copy_tree

import harness
from harness import BUILD, ROOT, START_S, STOP_S
from system import DataFolder

pytestmark = [pytest.mark.scripts, pytest.mark.timeout(600)]

EDIT_S = 6 * START_S  # from an edit to its effect, with a configuration and a build
BOTH = """\
/* both -- HTTP and gRPC in one process. */
#include "routeguide.descriptors.h"
#include "svc.h"

static struct http_reply *hello(struct http_req *req)
{
    return http_reply_text(200, "text/plain", STR("hello"));
}

static const struct http_route routes[] = {{.method = "GET", .path = "/hello", .handler = hello}, {0}};
static const struct rpc_method methods[] = {{0}};

int main(int argc, char **argv)
{
    return svc_main(argc, argv,
                    &(struct svc_def){.name = "both",
                                      .summary = "HTTP and gRPC",
                                      .routes = routes,
                                      .rpc = RPC_SERVICE(methods, routeguide_descriptors)});
}
"""
DECLARATION = """\
http = 8080
grpc = 9000
example.http = ["/hello", "/none"]
example.rpc = "grpc.health.v1.Health/Check"
example.messages = ['{}', '{"service": "none"}']
"""


def namespace() -> list[str]:
    """A command that runs another in a mount namespace, where that is possible here."""
    for command in (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]):
        if (
            shutil.which("unshare")
            and not subprocess.run([*command, "true"], capture_output=True, check=False).returncode
        ):
            return command
    pytest.skip("no mount namespace can be made here")


class Workshop:
    """A running scripts/up whose sources are in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        if BUILD != ROOT / "build":
            pytest.skip("the programs are built elsewhere than where scripts/up builds them")
        self.folder, self.tree = folder, folder / "tree"
        copy_tree(self.tree)
        shutil.copytree(BUILD, self.tree / "build", symlinks=True, ignore=shutil.ignore_patterns("tests", "meson-logs"))
        self.write("src/both/main.c", BOTH)
        self.write("src/both/service.toml", DECLARATION)
        self.data = DataFolder(folder / "data")
        enter = 'mount --bind "$0" "$1"; cd "$1"; shift; exec "$@"'
        self.port = harness.free_port()
        command = [ROOT / "scripts/up", "--ports", "auto", f"--port-both={self.port}", "--data", self.data.path]
        with open(folder / "said", "wb") as said:
            self.process = subprocess.Popen(
                [*namespace(), "sh", "-ec", enter, self.tree, ROOT, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
            )
        self.wait("To try:")

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def wait(self, words: str, after: int = 0) -> str:
        """Until up has said it; returns what it has said since."""
        harness.until(
            lambda: words in self.said()[after:] or self.process.poll() is not None, EDIT_S, f"never said: {words}"
        )
        assert words in self.said()[after:], self.said()
        return self.said()[after:]

    def write(self, name: str, text: str) -> None:
        path = self.tree / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def edit(self, name: str, old: str, new: str, until: str) -> str:
        """One save of one file; returns what up says up to these words."""
        before = len(self.said())
        text = (self.tree / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new, 1))
        return self.wait(until, before)

    def services(self) -> dict[str, dict[str, Any]]:
        running = self.data.running()
        assert running
        return running

    def get(self, service: str, path: str) -> httpx.Response:
        return httpx.get(f"http://{self.services()[service]['http']}{path}", timeout=START_S)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    made = Workshop(tmp_path_factory.mktemp("workshop"))
    yield made
    made.process.terminate()
    assert made.process.wait(STOP_S) == 0, made.said()


def test_http_and_grpc_have_ports_of_their_own(workshop: Workshop, tool: Callable[[str], str]) -> None:
    both = workshop.services()["both"]
    assert both["http"] == f"127.0.0.1:{workshop.port}" != both["grpc"]
    assert workshop.get("both", "/hello").text == "hello"
    health = [tool("grpcurl"), "-plaintext", both["grpc"], "grpc.health.v1.Health/Check"]
    assert "SERVING" in subprocess.run(health, capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^both +(HTTP|gRPC) +(\S+) ", workshop.said(), re.MULTILINE)
    assert rows == [("HTTP", both["http"]), ("gRPC", both["grpc"])]


def test_an_edit_restarts_what_has_changed_and_nothing_else(workshop: Workshop) -> None:
    before = workshop.services()
    answers: list[httpx.Response] = []
    slow = threading.Thread(target=lambda: answers.append(workshop.get("demo", "/demo/hello?delay=3000")))
    slow.start()
    workshop.edit("src/demo/main.c", "Everything is still OK", "All is well", "demo ready again")
    slow.join()
    assert answers[0].status_code == 200  # in flight when its service was told to stop
    after = workshop.services()
    assert {name for name in before if before[name]["pid"] != after[name]["pid"]} == {"demo"}
    assert {name: (one.get("http"), one.get("grpc"), one["admin"]) for name, one in before.items()} == {
        name: (one.get("http"), one.get("grpc"), one["admin"]) for name, one in after.items()
    }
    texts = {workshop.get("demo", "/demo/random-error").text for _ in range(20)}
    assert "All is well\n" in texts and "Everything is still OK\n" not in texts


def test_an_edit_without_effect_restarts_nothing(workshop: Workshop) -> None:
    before = workshop.services()
    workshop.edit("src/users/main.c", "of a user over HTTP", "of one user over HTTP", "no running program has changed")
    assert workshop.services() == before


def test_an_error_of_the_compiler_is_shown_and_changes_nothing(workshop: Workshop) -> None:
    before = workshop.services()
    said = workshop.edit("src/users/main.c", "return http_problem", "retrun http_problem", "does not build")
    assert "src/users/main.c:" in said and "error: " in said
    assert workshop.services() == before
    assert workshop.get("users", "/users/1234").status_code == 200
    workshop.edit("src/users/main.c", "retrun http_problem", "return http_problem", "no running program has changed")
    assert workshop.services() == before


def test_a_program_that_an_edit_breaks_waits_for_the_next_edit(workshop: Workshop) -> None:
    before = workshop.services()
    start, broken = "    return svc_main(argc, argv,", "    __builtin_trap();\n    return svc_main(argc, argv,"
    said = workshop.edit("src/countries/main.c", start, broken, "countries was ended by SIG")
    assert "it waits for the next edit" in said
    assert workshop.get("users", "/users/1234").status_code == 200
    workshop.edit("src/countries/main.c", broken, start, "countries ready again")
    after = workshop.services()
    assert {name for name in before if before[name]["pid"] != after[name]["pid"]} == {"countries"}
    assert workshop.get("countries", "/countries?user_id=1").status_code == 200


def test_a_new_file_is_built(workshop: Workshop) -> None:
    workshop.write("src/both/more.c", '#include "more.h"\nstruct str more(void) { return STR("more"); }\n')
    workshop.write("src/both/more.h", '#pragma once\n#include "buf.h"\nstruct str more(void);\n')
    text = (workshop.tree / "src/both/main.c").read_text()
    text = text.replace('STR("hello")', "more()").replace('#include "svc.h"', '#include "more.h"\n#include "svc.h"')
    before = len(workshop.said())
    workshop.write("src/both/main.c", text)
    workshop.wait("both ready again", before)
    assert workshop.get("both", "/hello").text == "more"


def bytes_of(program: Path) -> bytes:
    """Empty while the program is being linked."""
    try:
        return program.read_bytes()
    except FileNotFoundError:
        return b""


def test_what_does_not_run_here_is_built_too(workshop: Workshop) -> None:
    """After what runs: an error in it is shown as any other."""
    before = workshop.services()
    said = workshop.edit("src/store-tool/main.c", "static int job(", "static itn job(", "does not build")
    assert "no running program has changed" in said and "src/store-tool/main.c:" in said
    workshop.edit("src/store-tool/main.c", "static itn job(", "static int job(", "no running program has changed")
    assert workshop.services() == before
    old = 'store-tool: \\"%s\\" is not a percentage'
    workshop.edit("src/store-tool/main.c", old, "store-tool: %s is no percentage", "no running program has changed")
    harness.until(lambda: b"%s is no percentage" in bytes_of(workshop.tree / "build/store-tool"), EDIT_S)


def test_the_library_is_in_every_service(workshop: Workshop) -> None:
    before = workshop.services()
    library = next((workshop.tree / "src/lib").rglob("svc.c")).relative_to(workshop.tree)
    workshop.edit(str(library), '"draining", NULL', '"drain begun", NULL', "ready again")
    after = workshop.services()
    assert all(before[name]["pid"] != after[name]["pid"] for name in before)
