"""scripts/deployment/images: which cosign signs and verifies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deployment import images
from deployment.shell import Failure


def cosign(folder: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "cosign").write_text(f"#!/bin/sh\necho '{json.dumps({'gitVersion': version})}'\n")
    (folder / "cosign").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_cosign_2_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cosign(tmp_path, "v2.5.3", monkeypatch)
    with pytest.raises(Failure, match=r"needs cosign 3; this is v2\.5\.3"):
        images.need_cosign()


@pytest.mark.parametrize("version", ["v3.1.3", "3.0.2", "devel"])
def test_cosign_3_is_taken(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cosign(tmp_path, version, monkeypatch)
    images.need_cosign()
