"""What is done to etcd at night, and the way back from a backup outside of the cluster."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import NAME, Failure, Skip, command, wait
from load_pod import pod_of
from suite import E2E, check, expect
from system import EVERY, SERVICES, just

STORES = [app for app in SERVICES if "etcd" in EVERY[app].store]
CREDENTIALS = "ca=/tls/ca.crt&cert=/tls/tls.crt&key=/tls/tls.key"
JOB_S = 240
TOOLS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "slipway/tools"

# The bucket: rclone serves a folder of its pod by the S3 protocol.
BUCKET, STORAGE, STORAGE_PORT = "backups", "e2e-storage", 8333
ACCESS_KEY, SECRET_KEY = "e2e-access-key-id", "e2e-secret-access-key"  # of a pod that lives as long as the check
S3 = {
    "TYPE": "s3",
    "PROVIDER": "Rclone",
    "ENDPOINT": f"http://{STORAGE}:{STORAGE_PORT}",
    "ACCESS_KEY_ID": ACCESS_KEY,
    "SECRET_ACCESS_KEY": SECRET_KEY,
    "ENV_AUTH": "false",
}
ENCRYPTED = "age-encryption.org/v1"  # how every file of age's begins


def job(e2e: E2E, name: str, template: dict[str, Any]) -> None:
    """Of a CronJob's template, now; until it has ended well."""
    e2e.cluster.kubectl("delete", "job", name, "--ignore-not-found")
    e2e.cluster.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, **template})

    def ended() -> set[str]:
        conditions = e2e.cluster.get(f"job/{name}").get("status", {}).get("conditions", [])
        return {each["type"] for each in conditions if each["status"] == "True"} & {"Complete", "Failed"}

    if "Failed" in wait(f"job {name} ends", ended, JOB_S):
        raise Failure(e2e.cluster.kubectl("logs", f"job/{name}", "--all-containers", check=False))


def template(e2e: E2E, cron_job: str) -> dict[str, Any]:
    return {"spec": e2e.cluster.get(f"cronjob/{cron_job}")["spec"]["jobTemplate"]["spec"]}


def summaries(e2e: E2E, name: str) -> dict[str, str]:
    """Of each store: how many records of every table, the last sequence, the checksum of all."""
    said = {store: e2e.cluster.kubectl("logs", f"job/{name}", "-c", store).strip() for store in STORES}
    return {store: text.split(": ", 1)[-1] for store, text in said.items()}


def of_the_live_store(e2e: E2E, restored: dict[str, Any]) -> dict[str, Any]:
    """The job that looks at what was restored, looking at what is in use."""
    environment = e2e.cluster.get("deployment/notes")["spec"]["template"]["spec"]["containers"][0]["env"]
    endpoints = [each for each in environment if each["name"] == "ETCD_ENDPOINTS"]
    pod = restored["spec"]["template"]["spec"]
    pod["initContainers"] = [each for each in pod["initContainers"] if each["name"] in STORES]
    for each in pod["initContainers"]:
        each["env"] += endpoints
        each["args"] = ["verify", f"etcd://$(ETCD_ENDPOINTS)/{each['name']}?{CREDENTIALS}"]
    return restored


@check("a member of etcd loses its volume, and is replaced by just etcd-replace")
def replaces_a_member(e2e: E2E) -> str:
    member = max(pod.name for pod in e2e.cluster.pods("etcd"))
    claim = f"pvc/data-{member}"
    lost = e2e.cluster.get(claim)["metadata"]["uid"]

    def lose_and_replace() -> None:
        e2e.cluster.kubectl("delete", claim, "--wait=false")
        e2e.cluster.kubectl("delete", "pod", member, "--force", "--grace-period=0")
        just("etcd-replace", member, namespace=e2e.cluster.namespace, timeout=400)

    report = e2e.undisturbed("member", lose_and_replace)
    expect(e2e.cluster.get(claim)["metadata"]["uid"] != lost, "the member is on the volume it had")
    expect(len(e2e.cluster.serving("etcd")) == 3, "etcd has not three members")
    return f"{member}; {report}"


def defragment(e2e: E2E) -> None:
    """All members, however little is free: on a new cluster the job would leave them as they are."""
    job_of_all = template(e2e, "etcd-defragment")
    (tool,) = (
        each for each in job_of_all["spec"]["template"]["spec"]["initContainers"] if each["name"] == "defragment"
    )
    tool["args"].append("0")
    job(e2e, "defragment", job_of_all)
    said = e2e.cluster.kubectl("logs", "job/defragment", "-c", "defragment")
    expect(said.count(" now\n") == 3, f"not three members were defragmented:\n{said}")


def key_pair() -> tuple[str, str]:
    """An identity of age's, and its public part."""
    age_keygen = shutil.which("age-keygen", path=f"{os.environ['PATH']}:{TOOLS}")
    if age_keygen is None:
        raise Skip("no age-keygen: scripts/tools FOLDER makes one")
    identity = command(age_keygen).stdout
    return identity, command(age_keygen, "-y", stdin=identity).stdout.strip()


@dataclass(frozen=True)
class Storage:
    """A bucket in a pod, and the policies by which the pods of the component backup, and no others, reach it."""

    e2e: E2E

    def rclone(self, *words: str) -> str:
        return self.e2e.cluster.kubectl("exec", STORAGE, "--", "/bin/rclone", *words)

    def objects(self) -> list[str]:
        return [each["Name"] for each in json.loads(self.rclone("lsjson", f"/data/{BUCKET}/etcd"))]

    def beginning(self, name: str) -> str:
        return self.rclone("cat", f"--head={len(ENCRYPTED)}", f"/data/{BUCKET}/etcd/{name}")

    def make(self, image: str) -> None:
        labels = {NAME: STORAGE}
        pod = pod_of(STORAGE, labels, image, [])
        (server,) = pod["spec"]["containers"]
        server |= {
            "command": ["/bin/rclone", "serve", "s3", f"--addr=:{STORAGE_PORT}", f"--auth-key={ACCESS_KEY},{SECRET_KEY}", "/data"],
            "readinessProbe": {"tcpSocket": {"port": STORAGE_PORT}, "periodSeconds": 1},
            "env": [{"name": "RCLONE_CONFIG", "value": ""}, {"name": "RCLONE_CACHE_DIR", "value": "/data/.cache"}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }  # fmt: skip
        bucket = server | {"name": "bucket", "command": ["/bin/rclone", "mkdir", f"/data/{BUCKET}"]}
        del bucket["readinessProbe"]
        pod["spec"] |= {"initContainers": [bucket], "volumes": [{"name": "data", "emptyDir": {"sizeLimit": "1Gi"}}]}
        ports = [{"port": STORAGE_PORT}]
        backup = {"podSelector": {"matchLabels": {"backup": "true"}}}
        self.e2e.cluster.apply(
            pod,
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": STORAGE}, "spec": {"selector": labels, "ports": ports}},
            policy(STORAGE, {"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress"],
                             "ingress": [{"from": [backup], "ports": ports}]}),
            policy(f"{STORAGE}-callers", backup | {"policyTypes": ["Egress"], "egress": [
                {"to": [{"podSelector": {"matchLabels": labels}}], "ports": ports}]}),
        )  # fmt: skip
        self.e2e.cluster.kubectl("wait", f"pod/{STORAGE}", "--for=condition=Ready", "--timeout=60s")

    def clean(self) -> None:
        kinds = (f"pod/{STORAGE}", f"service/{STORAGE}", f"networkpolicy/{STORAGE}", f"networkpolicy/{STORAGE}-callers")
        self.e2e.cluster.kubectl("delete", *kinds, "secret/e2e-identity", "--ignore-not-found", "--wait=false")


def policy(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec}


def container(job_template: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (each for each in job_template["spec"]["template"]["spec"]["initContainers"] if each["name"] == name)
    return found


def to_the_bucket(backup: dict[str, Any]) -> dict[str, Any]:
    """The job as it is, but with the storage's address: rclone takes it from the environment."""
    upload = container(backup, "upload")
    upload["env"] = [each for each in upload["env"] if not each["name"].startswith("RCLONE_CONFIG_STORE_")]
    upload["env"] += [{"name": f"RCLONE_CONFIG_STORE_{name}", "value": value}
                      for name, value in ({"NO_CHECK_BUCKET": "true"} | S3).items()]  # fmt: skip
    return backup


def from_the_bucket(backup: dict[str, Any], name: str) -> dict[str, Any]:
    """The job backwards: fetched, decrypted by the identity, which no other pod has, restored, every record read."""
    pod = backup["spec"]["template"]["spec"]
    fetch, decrypt = container(to_the_bucket(backup), "upload"), container(backup, "encrypt")
    fetch |= {
        "name": "fetch",
        "command": ["/bin/rclone", "copyto", f"store:{BUCKET}/etcd/{name}", "/data/snapshot.age"],
    }
    decrypt |= {"name": "decrypt", "command": ["/bin/age", "--decrypt", "--identity=/identity/key", "--output=/data/snapshot",
                                               "/data/snapshot.age"]}  # fmt: skip
    decrypt["volumeMounts"] = [*decrypt["volumeMounts"], {"name": "identity", "mountPath": "/identity"}]
    pod["volumes"].append({"name": "identity", "secret": {"secretName": "e2e-identity", "defaultMode": 0o440}})
    steps = [container(backup, each) for each in ("restore", "etcd", *STORES)]
    pod["initContainers"], pod["containers"] = [fetch, decrypt, *steps[:-1]], steps[-1:]
    return backup


def stored(e2e: E2E) -> str:
    """The object that the job leaves: encrypted, and called like its pod."""
    job(e2e, "backup-check", to_the_bucket(template(e2e, "etcd-backup")))
    (pod,) = e2e.cluster.get("pods", "-l", "job-name=backup-check")["items"]
    name = f"{pod['metadata']['name']}.age"
    objects = Storage(e2e).objects()
    expect(objects == [name], f"the bucket has {objects}, not {name}")
    expect(Storage(e2e).beginning(name) == ENCRYPTED, f"{name} is not encrypted by age")
    return name


@check(
    "etcd is defragmented under load; a backup leaves the cluster encrypted, and what it gives back is what the store holds"
)
def backs_up(e2e: E2E) -> str:
    identity, recipient = key_pair()
    report = e2e.undisturbed("defragment", lambda: defragment(e2e))
    storage = Storage(e2e)
    e2e.cluster.kubectl("patch", "configmap", "backup", "--type=merge", "--patch",
                        json.dumps({"data": {"bucket": BUCKET, "recipients": recipient}}))  # fmt: skip
    e2e.cluster.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "e2e-identity"}, "stringData": {"key": identity}}
    )
    try:
        storage.make(container(template(e2e, "etcd-backup"), "encrypt")["image"])
        job(e2e, "restore-check", from_the_bucket(template(e2e, "etcd-backup"), stored(e2e)))
    finally:
        storage.clean()
    job(e2e, "live-check", of_the_live_store(e2e, template(e2e, "etcd-backup")))
    saved, restored, live = (summaries(e2e, each) for each in ("backup-check", "restore-check", "live-check"))
    expect(saved == restored == live and all(live.values()), f"saved: {saved}\nrestored: {restored}\nin use:   {live}")
    return f"{report}; restored: " + "; ".join(f"{store}: {text}" for store, text in restored.items())
