"""Alerts: none fires where nothing is wrong; each of five faults fires its own, which resolve after it has ended.

The rules are those that are deployed, with their windows, so both checks take long, and are made by name only. Labels say
which fault an alert belongs to: each fault concerns services of its own, so all are made at once.
"""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from check_watch import ask, scraped
from cluster import Pod, command, wait
from load_pod import pod_of
from suite import E2E, Skip, check, expect, say

Labels = dict[str, str]

CALM_S = 1800
CALM_RATE = 20  # requests a second, of all kinds: enough that no ratio rests on a few of them
LOOK_S = 5
STARTED_S = 120  # for a scrape, an evaluation, and pods that come and go, on a busy machine
ROUTES_S = 120  # how often the rules of the group routes are evaluated
BURNS = {f"{of}{what}" for of in ("Requests", "Route") for what in ("Failing", "FailingSlowly", "Slow", "SlowSlowly")}


@contextlib.contextmanager
def prometheus(e2e: E2E) -> Iterator[str]:
    """Its address."""
    found = e2e.cluster.serving("prometheus")
    if not found:
        raise Skip("no Prometheus in this overlay")
    with e2e.cluster.forward(found[0].name, 9090) as address:
        yield address


def firing(address: str) -> list[Labels]:
    return [each["labels"] for each in ask(address, "alerts")["alerts"] if each["state"] == "firing"]


def written(labels: Labels) -> str:
    rest = ", ".join(
        f"{name}={value}" for name, value in sorted(labels.items()) if name not in ("alertname", "severity")
    )
    return f"{labels['alertname']}{{{rest}}}"


@check("alerts: every target is up, and none fires in a calm half hour", by_name=True)
def stays_silent(e2e: E2E) -> str:
    with prometheus(e2e) as address, e2e.load.run("calm", rate=CALM_RATE) as run:
        targets = wait("every pod is a target that is up", lambda: scraped(e2e, address), 120, 2)
        end = time.monotonic() + CALM_S
        while time.monotonic() < end:
            run.hold(LOOK_S)
            found = firing(address)
            expect(not found, f"after {run.now():.0f} s: {', '.join(map(written, found))}")
        # What fired between two looks.
        query = f'ALERTS{{alertstate="firing"}}[{CALM_S}s]'
        found = [each["metric"] for each in ask(address, "query", query=query)["result"]]
        expect(not found, ", ".join(map(written, found)))
        rules = {
            rule["name"]
            for group in ask(address, "rules")["groups"]
            for rule in group["rules"]
            if rule["type"] == "alerting"
        }
    return f"{len(targets)} targets, {len(rules)} alerts, {CALM_S} s; {run.stop()}"


# ---- faults ----


@dataclass(frozen=True)
class Expected:
    """An alert that a fault fires within so many seconds, and that resolves so many after the fault has ended."""

    labels: Labels
    fires_s: float
    resolves_s: float


@dataclass(frozen=True)
class Fault:
    about: str
    expected: list[Expected]
    others: Callable[[Labels], bool]  # alerts that may follow from it, sooner or later
    begin: Callable[[], object]
    end: Callable[[], object]

    def concerns(self, labels: Labels) -> bool:
        return self.others(labels) or any(each.labels.items() <= labels.items() for each in self.expected)


def alert(name: str, fires_s: float, resolves_s: float, **labels: str) -> Expected:
    """Times of the rule; those for what surrounds it are added."""
    return Expected({"alertname": name, **labels}, fires_s + STARTED_S, resolves_s + STARTED_S)


def instance(e2e: E2E, pod: Pod) -> str:
    """What Prometheus calls a service's pod: it finds pods by DNS."""
    return f"{pod.ip.replace('.', '-')}.metrics.{e2e.cluster.namespace}.svc.cluster.local:9090"


def burns(*services: str) -> Callable[[Labels], bool]:
    """The windows of 6 h have no more history than those of 1 h here, so the slow alerts fire with the fast ones."""
    return lambda labels: labels["alertname"] in BURNS and labels.get("service") in services


def scaled(e2e: E2E, workload: str, replicas: int) -> Callable[[], object]:
    return lambda: e2e.cluster.kubectl("scale", workload, f"--replicas={replicas}")


def dependency_gone(e2e: E2E) -> Fault:
    """users: what asks it answers 5xx."""
    return Fault(
        "no pod of users is left",
        [
            alert("ServiceGone", 120, 0, service="users"),
            alert("RequestsFailing", 300, 300, service="countries"),
            alert("RouteFailing", 300 + ROUTES_S, 300 + ROUTES_S, service="countries", route="GET /countries"),
        ],
        burns("countries"),
        scaled(e2e, "deployment/users", 0),
        scaled(e2e, "deployment/users", len(e2e.cluster.serving("users"))),
    )


def store_gone(e2e: E2E) -> Fault:
    """etcd, all members."""
    views = [alert("StoreViewOld", 30 + 60, 60, instance=instance(e2e, pod)) for app in ("notes", "feature-store")
             for pod in e2e.cluster.serving(app)]  # fmt: skip
    failing = burns("notes", "feature-store", "route-guide")
    return Fault(
        "etcd is away",
        [alert("ServiceGone", 120, 60, service="etcd"), *views],
        lambda labels: failing(labels) or labels["alertname"] in ("EtcdWithoutLeader", "StoreViewOld"),
        scaled(e2e, "statefulset/etcd", 0),
        scaled(e2e, "statefulset/etcd", len(e2e.cluster.serving("etcd"))),
    )


def slow(e2e: E2E, stack: contextlib.ExitStack) -> Fault:
    """demo waits as long as its clients ask for."""
    late = stack.enter_context(contextlib.ExitStack())

    def begin() -> None:
        late.enter_context(e2e.load.run("late", rate=CALM_RATE, only="demo-slow", delay="700ms"))

    return Fault(
        "most of demo's responses take 0.7 s",
        [
            alert("RequestsSlow", 300, 300, service="demo"),
            alert("RouteSlow", 300 + ROUTES_S, 300 + ROUTES_S, service="demo", route="GET /demo/hello"),
        ],
        burns("demo"),
        begin,
        late.close,
    )


def crash(e2e: E2E) -> Fault:
    """A signal to the process of a pod, from an ephemeral container in its PID namespace."""
    pod = e2e.cluster.serving("route-guide")[0]
    (container,) = pod_of("", {}, e2e.image, [])["spec"]["containers"]
    container |= {"name": "signal", "targetContainerName": "server", "args": ["signal", "1", str(int(signal.SIGSEGV))]}
    del container["resources"]  # an ephemeral container may have none

    def begin() -> None:
        patch = json.dumps({"spec": {"ephemeralContainers": [container]}})
        e2e.cluster.kubectl("patch", "pod", pod.name, "--subresource=ephemeralcontainers", "--patch", patch)
        report = wait("the crash is reported", lambda: crash_report(e2e, pod.name), 60)
        expect(report["crash"]["signal"] == "SIGSEGV", str(report))

    return Fault(
        "a process of route-guide crashes",
        [alert("ProcessDied", 0, 900, instance=instance(e2e, pod))],
        burns("route-guide"),
        begin,
        lambda: None,
    )


def crash_report(e2e: E2E, pod: str) -> dict[str, Any]:
    """Of the process before the one that runs."""
    lines = e2e.cluster.kubectl("logs", pod, "-c", "server", "--previous", check=False).splitlines()
    return next((json.loads(line) for line in lines if '"message":"crashed: ' in line), {})


def short_certificate(folder: Path, data: dict[str, str], authority: dict[str, str], days: int) -> dict[str, str]:
    """The certificate in a Secret's data, issued again by the same authority, for so many days."""
    for name, value in {"tls.crt": data["tls.crt"], "tls.key": data["tls.key"], **authority}.items():
        (folder / name).write_bytes(base64.b64decode(value))

    def openssl(*args: str) -> None:
        command("openssl", *args, cwd=folder)

    openssl("x509", "-x509toreq", "-in", "tls.crt", "-signkey", "tls.key", "-out", "request")
    (folder / "extensions").write_text(
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n"
    )
    openssl("x509", "-req", "-in", "request", "-CA", "ca.crt", "-CAkey", "ca.key", "-set_serial", "1", "-days", str(days),
            "-extfile", "extensions", "-out", "short.crt")  # fmt: skip
    return {"tls.crt": base64.b64encode((folder / "short.crt").read_bytes()).decode()}


def certificate_ends(e2e: E2E, folder: Path) -> Fault:
    """That by which stores know etcd's clients; it stays valid."""
    data = e2e.cluster.get("secret/etcd-client")["data"]
    shorter = short_certificate(folder, data, e2e.cluster.get("secret/etcd-ca")["data"], 10)

    def put(certificate: dict[str, str]) -> None:
        e2e.cluster.kubectl("patch", "secret", "etcd-client", "--patch", json.dumps({"data": certificate}))

    kubelet_s = 120  # until it has renewed the files of a pod
    return Fault(
        "a certificate ends in 10 days",
        [alert("CertificateEnds", kubelet_s + 600, kubelet_s, file="/tls/tls.crt")],
        lambda labels: False,
        lambda: put(shorter),
        lambda: put({"tls.crt": data["tls.crt"]}),
    )


class Watch:
    """Looks at the alerts that fire."""

    def __init__(self, address: str, faults: list[Fault]) -> None:
        self.address, self.faults = address, faults
        self.now: list[Labels] = []
        self.seen: dict[str, bool] = {}  # alert -> whether it belongs to a fault

    def look(self) -> None:
        self.now = firing(self.address)
        for labels in self.now:
            self.seen[written(labels)] = any(fault.concerns(labels) for fault in self.faults)

    def fires(self, expected: Expected) -> bool:
        return any(expected.labels.items() <= labels.items() for labels in self.now)


@dataclass
class Course:
    """What becomes of a fault: it ends as soon as all of its alerts fire, or should."""

    fault: Fault
    began: float = 0
    ended: float = 0
    fired: dict[int, float] = field(default_factory=dict)  # by the alert's place: seconds after the beginning
    resolved: dict[int, float] = field(default_factory=dict)  # after the end

    def begin(self) -> None:
        self.began = time.monotonic()
        self.fault.begin()

    def end(self) -> None:
        if not self.ended:
            self.fault.end()
            self.ended = time.monotonic()

    def step(self, watch: Watch) -> None:
        """After a look."""
        now = time.monotonic()
        for index, expected in enumerate(self.fault.expected):
            if watch.fires(expected):
                self.fired.setdefault(index, now - self.began)
                self.resolved.pop(index, None)
            elif index in self.fired and self.ended:
                self.resolved.setdefault(index, now - self.ended)
        if all(
            index in self.fired or now - self.began > expected.fires_s
            for index, expected in enumerate(self.fault.expected)
        ):
            self.end()

    def over(self) -> bool:
        since = time.monotonic() - self.ended
        return bool(self.ended) and all(
            index in self.resolved or since > expected.resolves_s
            for index, expected in enumerate(self.fault.expected)
            if index in self.fired
        )

    def tell(self) -> list[str]:
        """Prints it; returns what is wrong."""
        wrong = []
        say(f"{self.fault.about}, for {self.ended - self.began:.0f} s")
        for index, expected in enumerate(self.fault.expected):
            alert = written(expected.labels)
            if index not in self.fired:
                wrong.append(f"{alert} does not fire within {expected.fires_s:.0f} s")
            elif index not in self.resolved:
                wrong.append(f"{alert} does not resolve within {expected.resolves_s:.0f} s")
            else:
                say(f"  {alert}: after {self.fired[index]:.0f} s; resolved {self.resolved[index]:.0f} s after the end")
        return wrong


@check("alerts: five faults fire their own, which resolve", by_name=True)
def fires(e2e: E2E) -> str:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        address = stack.enter_context(prometheus(e2e))
        faults = [crash(e2e), certificate_ends(e2e, folder), dependency_gone(e2e), store_gone(e2e), slow(e2e, stack)]
        watch, courses = Watch(address, faults), [Course(fault) for fault in faults]
        stack.enter_context(e2e.load.run("faults", rate=CALM_RATE))
        watch.look()
        expect(not watch.now, f"before any fault: {', '.join(map(written, watch.now))}")
        for course in courses:
            stack.callback(course.end)
            course.begin()
        while not all(course.over() for course in courses):
            time.sleep(LOOK_S)
            watch.look()
            for course in courses:
                course.step(watch)
        wrong = [each for course in courses for each in course.tell()]
    for name, belongs in watch.seen.items():
        say(f"fired: {name}")
        if not belongs:
            wrong.append(f"of no fault: {name}")
    expect(not wrong, "; ".join(wrong))
    return f"{len(faults)} faults, {sum(len(fault.expected) for fault in faults)} alerts"
