"""What is done to etcd at night."""

from __future__ import annotations

from typing import Any

from cluster import Failure, wait
from suite import E2E, check, expect
from system import EVERY, SERVICES, just

STORES = [app for app in SERVICES if "etcd" in EVERY[app].store]
CREDENTIALS = "ca=/tls/ca.crt&cert=/tls/tls.crt&key=/tls/tls.key"
JOB_S = 240


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


@check("etcd is defragmented under load; what a backup gives back is what the store holds")
def backs_up(e2e: E2E) -> str:
    report = e2e.undisturbed("defragment", lambda: defragment(e2e))
    job(e2e, "backup-check", template(e2e, "etcd-backup"))
    job(e2e, "live-check", of_the_live_store(e2e, template(e2e, "etcd-backup")))
    restored, live = summaries(e2e, "backup-check"), summaries(e2e, "live-check")
    expect(restored == live and all(restored.values()), f"restored: {restored}\nin use:   {live}")
    return f"{report}; restored: " + "; ".join(f"{store}: {text}" for store, text in restored.items())
