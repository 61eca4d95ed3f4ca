"""scripts/deployment/attestations: what is asked of gcloud, for which there is a stand-in: it would need an account."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

from deployment import attestations
from deployment.shell import Failure

DIGEST = f"r/slipway/demo@sha256:{'1' * 64}"
ATTESTED = f"r/slipway/notes@sha256:{'2' * 64}"
UNVERIFIABLE = f"r/slipway/users@sha256:{'3' * 64}"
# Like the real one it asks whether to store what the attestor cannot verify, and takes the end of its input for yes.
GCLOUD = """#!/bin/sh
printf '%s\\n' "$*" >>"$0.calls"
case $* in
*" list "*notes@*) echo projects/p/occurrences/1 ;;
*" sign-and-create "*users@*)
    case $* in *" --validate"*) ;; *) exit 0 ;; esac
    echo "Attestation could not be validated!" >&2
    read -r answer && [ "$answer" = n ] && [ "$CLOUDSDK_CORE_DISABLE_PROMPTS" = false ] && exit 1 ;;
esac
exit 0
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "gcloud").write_text(GCLOUD)
    (tmp_path / "gcloud").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path / "gcloud.calls"


def test_what_has_no_attestation_gets_one_by_digest(calls: Path):
    attestations.attest({"demo": DIGEST, "notes": ATTESTED}, "p", "europe-west1")
    made = [line for line in calls.read_text().splitlines() if "sign-and-create" in line]
    key = "projects/p/locations/europe-west1/keyRings/slipway/cryptoKeys/attestations/cryptoKeyVersions/1"
    about = f"--project=p --attestor=projects/p/attestors/slipway --artifact-url={DIGEST}"
    assert made == [f"beta container binauthz attestations sign-and-create {about} --keyversion={key} --validate"]


def test_attestations_are_listed_in_the_environments_project(calls: Path):
    attestations.attest({"demo": DIGEST}, "p", "europe-west1")
    assert f" list --project=p --attestor=projects/p/attestors/slipway --artifact-url={DIGEST} " in calls.read_text()


def test_what_the_attestor_cannot_verify_is_not_stored(calls: Path):
    with pytest.raises(Failure, match="could not be validated"):
        attestations.attest({"users": UNVERIFIABLE}, "p", "europe-west1")


def test_the_real_gcloud_knows_the_commands():
    """Its parser refuses a flag or group that does not exist before it asks for an account."""
    for track, verb in (((), "list"), (("beta",), "sign-and-create")):
        try:
            help_ = subprocess.run(["gcloud", *track, *attestations.GROUP, verb, "--help"],
                                   capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
        except FileNotFoundError:
            pytest.skip("no gcloud")
        assert help_.returncode == 0, help_.stderr
        flags = ("--attestor", "--artifact-url", "--project",
                 *(["--keyversion", "--validate"] if verb == "sign-and-create" else []))  # fmt: skip
        assert all(flag in help_.stdout for flag in flags)
