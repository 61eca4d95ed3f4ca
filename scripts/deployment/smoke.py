"""smoke -- whether what is deployed does its work for those outside: through the address that they use."""

from __future__ import annotations

import json
import os
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deployment.cluster import Cluster, Docs, find
from deployment.images import Images, to_artifacts
from deployment.shell import Failure, run, say, wait
from services import Declaration, load, public

CALLS_S = 660  # the deadline of k8s/verify/job.yaml, and a minute to make and delete the job
QUIET = {"SKAFFOLD_UPDATE_CHECK": "false", "SKAFFOLD_INTERACTIVE": "false"}


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    location: str


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


OPENER = urllib.request.build_opener(NoRedirect)


def call(method: str, url: str, body: object = None, token: str = "") -> Answer:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with OPENER.open(request, timeout=10) as answer:
            return Answer(answer.status, answer.read().decode(), answer.headers.get("Location", ""))
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read().decode(errors="replace"), "")
    except OSError as error:
        raise Failure(f"{method} {url}: {error}") from error


def expect(url: str, answer: Answer, status: int, having: str = "") -> Answer:
    if answer.status != status or having not in answer.text:
        raise Failure(f"{url}: {answer.status} {answer.text[:200]!r}, not {status} {having!r}")
    return answer


def countries(base: str, token: str) -> None:
    url = f"{base}/countries?user_id=1234"
    answer = expect(url, call("GET", url), 200)
    if not {"user_id", "name", "country"} <= json.loads(answer.text).keys():
        raise Failure(f"{url}: {answer.text[:200]!r}")


def demo(base: str, token: str) -> None:
    expect(f"{base}/demo/hello", call("GET", f"{base}/demo/hello"), 200, "hello, world!\n")
    for path in ("/metrics", "/healthz", "/readyz"):
        expect(base + path, call("GET", base + path), 404)


def notes(base: str, token: str) -> None:
    """A note is kept, read and taken away."""
    url = f"{base}/v1/notes"
    note = {"title": "smoke test", "body": "", "tags": ["smoke"]}
    location = expect(url, call("POST", url, note, token), 201).location
    made = f"{base}/{location.lstrip('/')}"
    expect(made, call("GET", made, token=token), 200, '"smoke test"')
    expect(made, call("DELETE", made, token=token), 204)


def closed(base: str, token: str) -> None:
    """Where notes asks for a token, a request without one is refused, and one with a token is served. An identity-aware
    proxy redirects people to a page to sign in."""
    status = call("POST", f"{base}/v1/notes", {"title": "smoke test"}).status
    if status not in (302, 401):
        raise Failure(f"{base}/v1/notes: {status} without a token, not 302 or 401")
    if not token:
        raise Failure(
            f"{base}/v1/notes: not tested: SMOKE_TOKEN has no token, and the overlay names no client to get one for"
        )
    notes(base, token)


def token_for(docs: Docs) -> str:
    """SMOKE_TOKEN or, behind the identity-aware proxy, a token of the account smoke-test in the environment's project: whoever
    deploys may get one (infra/modules/identity)."""
    policy = find(docs, "GCPBackendPolicy", "notes") or {"spec": {"default": {}}}
    client = policy["spec"]["default"].get("iap", {}).get("clientID", "")
    if os.environ.get("SMOKE_TOKEN") or not client:
        return os.environ.get("SMOKE_TOKEN", "")
    project = (find(docs, "ConfigMap", "environment") or {"data": {"project": ""}})["data"]["project"]
    account = f"smoke-test@{project}.iam.gserviceaccount.com"
    return run("gcloud", "auth", "print-identity-token", f"--impersonate-service-account={account}",
               f"--audiences={client}", "--include-email").strip()  # fmt: skip


def has_door(docs: Docs) -> bool:
    """By the components auth and auth-tokens."""
    policy = find(docs, "GCPBackendPolicy", "notes") or {"spec": {"default": {}}}
    return "iap" in policy["spec"]["default"] or "AUTH_TOKENS_FILE" in json.dumps(find(docs, "Deployment", "notes"))


def probed(path: str) -> Callable[[str, str], None]:
    """That the path which a declaration names answers."""

    def check(base: str, token: str) -> None:
        expect(base + path, call("GET", base + path, token=token), 200)

    return check


def called(rpc: str) -> Callable[[str, str], None]:
    """That an rpc gets to the service: with an empty message, so that any answer but UNIMPLEMENTED and UNAVAILABLE is one."""

    def check(base: str, token: str) -> None:
        url = f"{base}/{rpc}"
        version = "--http2" if base.startswith("https:") else "--http2-prior-knowledge"
        said = run("curl", "--silent", "--show-error", "--max-time", "10", "--output", "/dev/null", "--dump-header", "-", version, "--header",
                   "Content-Type: application/grpc", "--header", "TE: trailers", "--data-binary", "@-", url,
                   stdin="\0" * 5)  # fmt: skip
        found = re.findall(r"^grpc-status: *(\d+)", said, re.IGNORECASE | re.MULTILINE)
        if not found or found[-1] in ("12", "14"):
            raise Failure(f"{url}: grpc-status {found[-1] if found else 'missing'}: {said[:200]!r}")

    return check


# What is asked of these. Of other public services, what their declarations name.
CHECKS: dict[str, Callable[[str, str], None]] = {"countries": countries, "demo": demo, "notes": notes}
ROUTE_GUIDE = "route-guide"  # its calls are made by route-client in the cluster


def checks_of(one: Declaration) -> Iterator[tuple[str, Callable[[str, str], None]]]:
    """By protocol."""
    if one.http:
        yield "http", CHECKS.get(one.name) or probed(one.public.probe if one.public else "")
    if one.grpc and one.name != ROUTE_GUIDE:
        yield "grpc", called(one.example.rpc)


def expected(docs: Docs, one: Declaration) -> bool:
    """Whether it has to be reached: not in a release that is older than it, and not where its declaration says not_in."""
    if one.public and one.public.not_in:
        return any(find(docs, kind, one.name) for kind in ("HTTPRoute", "GRPCRoute"))
    return find(docs, "Service", one.name) is not None


def address(cluster: Cluster, docs: Docs, service: str, domain: str, protocol: str = "http") -> str:
    """http(s)://HOST[:PORT] by which a public service is reached."""
    if find(docs, "Gateway", "public"):
        if domain:
            return f"https://{service}.{domain}"
        gateway = cluster.get("gateways.gateway.networking.k8s.io", "public") or {}
        listener = next(each for each in gateway["spec"]["listeners"] if each["name"] == protocol)
        given = gateway.get("status", {}).get("addresses", [])
        if not given:
            raise Failure("the Gateway has no address yet")
        return f"http://{given[0]['value']}:{listener['port']}"
    found = cluster.get("service", service) or {}
    given = found.get("status", {}).get("loadBalancer", {}).get("ingress", [])
    if not given:
        raise Failure(f"Service {service} has no address yet")
    port = next(each["port"] for each in found["spec"]["ports"] if each["name"] == protocol)
    return f"http://{given[0].get('ip') or given[0].get('hostname')}:{port}"


def test(cluster: Cluster, docs: Docs, images: Images, domain: str, patience: float) -> None:
    """Each check until it passes, for patience seconds at most: an address or a certificate may take its time."""
    token, problems = token_for(docs), {}

    def passed(service: str, protocol: str, check: Callable[[str, str], None]) -> bool:
        try:
            check(address(cluster, docs, service, domain, protocol), token)
        except Failure as failure:
            problems[service] = failure
            return False
        return True

    checks = [(one.name, *each) for one in public(load()) if expected(docs, one) for each in checks_of(one)]
    for service, protocol, declared in checks:
        check = closed if service == "notes" and has_door(docs) else declared
        try:
            wait("", lambda each=(service, protocol, check): passed(*each), patience)
        except Failure as failure:
            raise Failure(f"smoke test of {service}: {problems[service]}") from failure
        say(f"{service}: right, at {address(cluster, docs, service, domain, protocol)}")
    if find(docs, "Service", ROUTE_GUIDE):
        calls(cluster, images)


def calls(cluster: Cluster, images: Images) -> None:
    """The five gRPC calls, by a client in the cluster."""
    with tempfile.TemporaryDirectory() as folder:
        artifacts = Path(folder) / "artifacts.json"
        artifacts.write_text(json.dumps(to_artifacts(images)))
        config = Path(folder) / "kubeconfig"  # skaffold verify has no flag for the context
        config.touch(mode=0o600)
        config.write_text(cluster.kubectl("config", "view", "--minify", "--flatten"))
        run("skaffold", "verify", "--build-artifacts", artifacts, "--namespace", cluster.namespace, timeout=CALLS_S,
            env=QUIET | {"KUBECONFIG": str(config)})  # fmt: skip
    say("route-guide: the five calls are right")
