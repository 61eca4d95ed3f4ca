"""The closure guard, provoked: through the flake, and rule by rule."""

import pathlib
import shutil

import guard
import layer
import pytest


def provoke(scratch, reason: str, name: str = "route-guide") -> None:
    done = scratch.nix("build", "--no-link", f".#images.{name}", check=False)
    assert done.returncode != 0 and "the closure guard refuses" in done.stderr, done.stderr[-2000:]
    assert reason in done.stderr


@pytest.mark.parametrize("program", ["dash", "perl", "gcc", "python3"])
def test_a_shell_an_interpreter_or_a_compiler_fails_the_build(scratch, program):
    found = shutil.which(program, path="/usr/bin:/bin")
    shutil.copy(found, scratch.folder / "share/route-guide" / program)
    scratch.git("add", "--force", "share")
    provoke(scratch, f"/share/route-guide/{program}: a shell, an interpreter or a compiler")


def test_a_script_fails_the_build(scratch):
    scratch.write("share/route-guide/start", "#!/bin/sh\n")
    provoke(scratch, "/share/route-guide/start: a script")


def test_a_header_fails_the_build(scratch):
    scratch.write("share/route-guide/a.h", "int a;\n")
    provoke(scratch, "/share/route-guide/a.h: of use only to a build")


def test_the_size_fails_the_build(scratch):
    bounds = (scratch.folder / "nix/bounds.nix").read_text()
    scratch.write("nix/bounds.nix", bounds.replace("plain = 6 * MB", "plain = 3 * MB"))
    provoke(scratch, "its bound is 3000000", "users")


def test_a_path_of_the_build_fails_the_build(scratch):
    main = "src/users/main.c"
    text = (scratch.folder / main).read_text().replace("returns the name of a user", '" BUILT_IN "', 1)
    text = text.replace("returns the name of a user", '" BUILT_IN "')
    scratch.write(main, text)
    build = (scratch.folder / "meson.build").read_text()
    define = "add_project_arguments('-DBUILT_IN=\"' + meson.project_build_root() + '\"', language: 'c')\n"
    scratch.write("meson.build", build.replace("cc = meson", define + "cc = meson", 1))
    provoke(scratch, "/bin/users: contains a path of the build", "users")


def reasons(path: str, source: pathlib.Path | None = None, **entry) -> str:
    content = None if source else entry.pop("content", b"\x7fELF")
    with pytest.raises(guard.Refused) as refused:
        guard.check([layer.Entry(path, source, content, **entry)], set(), 0, 1)
    return str(refused.value)


@pytest.mark.parametrize(
    "name", ["sh", "bash", "busybox", "perl5.36.0", "x86_64-linux-gnu-gcc-12", "clang-14", "ld.gold"]
)
def test_names_of_programs(name):
    assert "a shell, an interpreter or a compiler" in reasons(f"/bin/{name}", mode=0o555)


@pytest.mark.parametrize("name", ["libperl.so.5.36", "libLLVM-14.so.1", "libpython3.11.so.1.0"])
def test_names_of_libraries(name):
    assert "a library of an interpreter" in reasons(f"/lib/{name}")


def test_development_outputs():
    assert "from a development output" in reasons("/nix/store/abc-zlib-1.3-dev/lib/libz.so.1")


def test_links_are_followed(tmp_path):
    (tmp_path / "innocent").symlink_to("/bin/dash")
    assert "a shell" in reasons("/bin/innocent", tmp_path / "innocent", mode=0o555)


def test_modes():
    assert "mode 755" in reasons("/bin/x", mode=0o755)
    assert "mode 4555" in reasons("/bin/x", mode=0o4555)


def test_what_is_meant_to_be_there_passes():
    good = [
        layer.Entry("/bin/notes", content=b"\x7fELF", mode=0o555),
        layer.Entry("/lib/x86_64-linux-gnu/libc.so.6", pathlib.Path("/lib/x86_64-linux-gnu/libc.so.6"), mode=0o555),
        layer.Entry("/share/notes/openapi.json", content=b"{}"),
        layer.Entry("/data", mode=0o700, owner=65532),
    ]
    guard.check(good, {"/bin/notes"}, 1, 1)
