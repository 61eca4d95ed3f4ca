"""What must hold of everything that the environments plan, now and after changes: each policy yields what breaks it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import combinations
from typing import Any

import yaml
from permissions import NEEDS, ROLES
from tree import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

from deployment.images import ATTESTED, SIGNATURES
from deployment.releases import KEPT
from services import load, public

EVERY = load()
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "k8s/components/monitoring/rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
GOOGLES = ("@container-engine-robot.iam.gserviceaccount.com",)  # Google's own accounts, one a project
WORKFLOWS = ROOT / ".github/workflows"
DEPLOYS = {"dev": "deploy.yaml", "stage": "promote.yaml", "prod": "promote.yaml"}  # whose jobs run in which
NEXT = {"dev": "stage", "stage": "prod"}  # what promote.yaml offers


@dataclass(frozen=True)
class Resource:
    address: str
    type: str
    values: dict[str, Any]  # what is known before it is applied
    unknown: dict[str, Any]


@dataclass(frozen=True)
class Environment:
    name: str
    resources: list[Resource]

    @property
    def production(self) -> bool:
        return self.name == "prod"

    def of(self, *types: str) -> list[Resource]:
        return [resource for resource in self.resources if resource.type in types]


Policy = Callable[[list[Environment]], Iterator[str]]
POLICIES: dict[str, Policy] = {}


def environment(name: str, plans: list[dict[str, Any]]) -> Environment:
    changes = [change for plan in plans for change in plan["resource_changes"] if change["mode"] == "managed"]
    return Environment(
        name,
        [
            Resource(item["address"], item["type"], item["change"]["after"], item["change"]["after_unknown"])
            for item in changes
        ],
    )


def everywhere(title: str) -> Callable[[Policy], Policy]:
    """A policy over all environments."""

    def add(policy: Policy) -> Policy:
        POLICIES[title] = policy
        return policy

    return add


def each(title: str) -> Callable[[Callable[[Environment], Iterator[str]]], Policy]:
    """A policy over each environment by itself."""

    def add(check: Callable[[Environment], Iterator[str]]) -> Policy:
        @everywhere(title)
        def policy(environments: list[Environment]) -> Iterator[str]:
            for item in environments:
                yield from (f"{item.name}: {problem}" for problem in check(item))

        return policy

    return add


def only(values: dict[str, Any], *path: str) -> Any:
    """Through blocks that occur once; None where one is missing."""
    at: Any = values
    for name in path:
        at = at[0] if isinstance(at, list) and at else at
        at = at.get(name) if isinstance(at, dict) else None
    return at


@each("nodes have no public addresses")
def private_nodes(env: Environment) -> Iterator[str]:
    if not env.of("google_container_cluster"):
        yield "no cluster"
    for cluster in env.of("google_container_cluster"):
        if only(cluster.values, "private_cluster_config", "enable_private_nodes") is not True:
            yield cluster.address


@each("the control plane's address answers only to networks that are named, none of them large")
def authorized_networks(env: Environment) -> Iterator[str]:
    for cluster in env.of("google_container_cluster"):
        networks = only(cluster.values, "master_authorized_networks_config")
        if not networks or networks[0]["gcp_public_cidrs_access_enabled"] is not False:
            yield f"{cluster.address}: open to other people's machines"
            continue
        for block in networks[0]["cidr_blocks"]:
            if ip_network(block["cidr_block"]).prefixlen < 16:
                yield f"{cluster.address}: {block['cidr_block']}"


@each("the cluster is protected from deletion in prod, and nowhere else")
def protected(env: Environment) -> Iterator[str]:
    for cluster in env.of("google_container_cluster"):
        if cluster.values["deletion_protection"] is not env.production:
            yield f"{cluster.address}: {cluster.values['deletion_protection']}"


@each("prod runs images that the CI has attested")
def attested_images(env: Environment) -> Iterator[str]:
    for cluster in env.of("google_container_cluster") if env.production else []:
        if only(cluster.values, "binary_authorization", "evaluation_mode") != "PROJECT_SINGLETON_POLICY_ENFORCE":
            yield f"{cluster.address}: does not ask the policy"
    rules = [item.values for item in env.of("google_binary_authorization_policy")]
    if env.production and [only(rule, "default_admission_rule", "evaluation_mode") for rule in rules] != [
        "REQUIRE_ATTESTATION"
    ]:
        yield "the policy lets other images in"


@each("health checks reach the admin port")
def health_checks(env: Environment) -> Iterator[str]:
    ranges, ports = {"35.191.0.0/16", "130.211.0.0/22"}, {("tcp", "9090")}
    for rule in env.of("google_compute_firewall"):
        allowed = {(each["protocol"], port) for each in rule.values["allow"] for port in each["ports"]}
        if ranges == set(rule.values["source_ranges"] or []) and allowed == ports:
            return
    yield "no firewall rule for them"


@each("the cluster's Secrets are encrypted with a key of the environment")
def encrypted_secrets(env: Environment) -> Iterator[str]:
    for cluster in env.of("google_container_cluster"):
        if only(cluster.values, "database_encryption", "state") != "ENCRYPTED":
            yield cluster.address


NAME = r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?"  # of most resources
# What the provider or the API refuses: its schema does not say so.
FORMS = {
    ("google_artifact_registry_repository", "repository_id"): NAME,
    ("google_billing_budget", "display_name"): r".{0,60}",
    ("google_certificate_manager_certificate", "name"): NAME,
    ("google_cloud_quotas_quota_preference", "name"): NAME,
    ("google_compute_firewall", "name"): NAME,
    ("google_compute_global_address", "name"): NAME,
    ("google_compute_network", "name"): NAME,
    ("google_compute_router", "name"): NAME,
    ("google_compute_security_policy", "name"): NAME,
    ("google_compute_security_policy", "rule", "description"): r".{0,64}",
    ("google_compute_ssl_policy", "name"): NAME,
    ("google_compute_subnetwork", "name"): NAME,
    ("google_container_cluster", "name"): r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?",
    ("google_dns_managed_zone", "name"): NAME,
    ("google_iam_workload_identity_pool", "description"): r".{0,256}",
    ("google_iam_workload_identity_pool", "display_name"): r".{0,32}",
    ("google_iam_workload_identity_pool", "workload_identity_pool_id"): r"(?!gcp-)[a-z0-9-]{4,32}",
    ("google_iam_workload_identity_pool_provider", "display_name"): r".{0,32}",
    ("google_iam_workload_identity_pool_provider", "workload_identity_pool_provider_id"): r"(?!gcp-)[a-z0-9-]{4,32}",
    ("google_kms_crypto_key", "name"): r"[A-Za-z0-9_-]{1,63}",
    ("google_kms_key_ring", "name"): r"[A-Za-z0-9_-]{1,63}",
    ("google_service_account", "account_id"): r"[a-z][-a-z0-9]{4,28}[a-z0-9]",
    ("google_service_account", "description"): r".{0,256}",
    ("google_service_account", "display_name"): r".{0,100}",
    ("google_storage_bucket", "name"): r"(?!goog)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]",
}


@each("names and descriptions are as Google takes them")
def well_named(env: Environment) -> Iterator[str]:
    for (kind, *path, last), form in FORMS.items():
        for item in env.of(kind):
            holders = item.values[path[0]] if path else [item.values]
            for text in filter(None, (holder.get(last) for holder in holders)):
                if not re.fullmatch(form, text):
                    yield f"{item.address}: {last} {text!r} is not {form}"


@each("nothing is asked for that Google no longer has")
def retired(env: Environment) -> Iterator[str]:
    gone = re.compile(r'"VULNERABILITY_(BASIC|ENTERPRISE)"')
    yield from (item.address for item in env.resources if gone.search(json.dumps(item.values)))


@each("backups are elsewhere, and neither the job nor anybody else can delete them")
def backups(env: Environment) -> Iterator[str]:
    buckets = [item.values for item in env.of("google_storage_bucket") if item.address.endswith(".backups")]
    regions = {item.values["region"] for item in env.of("google_compute_subnetwork")}
    if not buckets:
        yield "no bucket"
    for bucket in buckets:
        if bucket["location"].lower() in regions or not only(bucket, "retention_policy", "retention_period"):
            yield bucket["name"]
    for grant in env.of("google_storage_bucket_iam_member"):
        if "backups" in grant.address and grant.values["role"] not in (
            "roles/storage.objectCreator",
            "roles/storage.objectViewer",
        ):
            yield grant.address


@each("no bucket can be made public")
def private_buckets(env: Environment) -> Iterator[str]:
    for bucket in env.of("google_storage_bucket"):
        values = bucket.values
        if values["public_access_prevention"] != "enforced" or values["uniform_bucket_level_access"] is not True:
            yield bucket.address


@each("nothing is granted to everybody")
def granted_to_everybody(env: Environment) -> Iterator[str]:
    for resource in env.resources:
        if "_iam_" in resource.type and re.search(r'"all(Authenticated)?Users"', json.dumps(resource.values)):
            yield resource.address


@each("there are no keys")
def no_keys(env: Environment) -> Iterator[str]:
    """None that leaves a system that holds it: those of KMS never do."""
    kept = ("google_kms_crypto_key",)
    yield from (
        item.address for item in env.resources if re.search(r"_key$|_hmac_key", item.type) and item.type not in kept
    )


@each("jobs of one repository are believed, in the environment of this name")
def one_repository(env: Environment) -> Iterator[str]:
    providers = env.of("google_iam_workload_identity_pool_provider")
    if not providers:
        yield "nobody is believed"
    for provider in providers:
        condition = provider.values["attribute_condition"] or ""
        environment = f"plan-{env.name}" if is_for_plans(provider) else env.name
        parts = [re.fullmatch(r"assertion\.(\w+) == '([\w./-]+)'", part) for part in condition.split(" && ")]
        claims = {match[1]: match[2] for match in parts if match}
        if (
            None in parts
            or not {"repository", "repository_id"} <= set(claims)
            or claims.get("environment") != environment
        ):
            yield f"{provider.address}: {condition}"


@each("jobs of one branch or tag are believed, those of the workflow that deploys there")
def one_workflow(env: Environment) -> Iterator[str]:
    for provider in env.of("google_iam_workload_identity_pool_provider"):
        if not is_for_plans(provider) and not re.search(
            r" && assertion\.ref == 'refs/(heads|tags)/[\w./-]+'$", provider.values["attribute_condition"]
        ):
            yield provider.address
    for binding in env.of("google_service_account_iam_member"):
        if is_for_plans(binding) or ".ci[" not in binding.address:
            continue
        match = re.search(
            r"/attribute\.workflow/[\w-]+/[\w.-]+/\.github/workflows/([^/]+)@refs/", binding.values["member"]
        )
        if not match or not (WORKFLOWS / match[1]).exists():
            yield f"{binding.address}: {binding.values['member']}"
        elif "infra" not in binding.address and DEPLOYS.get(env.name, match[1]) != match[1]:
            yield f"{binding.address}: {match[1]} deploys nothing there"


def is_for_plans(resource: Resource) -> bool:
    return resource.address.startswith("module.plans.")


@each("what pull requests run changes nothing")
def plans_read(env: Environment) -> Iterator[str]:
    """Their jobs are their authors': they get one account, in a pool of its own, which only reads."""
    allowed = {"roles/viewer", "roles/iam.securityReviewer", "roles/serviceusage.serviceUsageConsumer",
               "roles/cloudkms.publicKeyViewer", "roles/storage.objectViewer", "roles/iam.workloadIdentityUser"}  # fmt: skip
    for resource in filter(is_for_plans, env.resources):
        if "_iam_member" in resource.type and resource.values["role"] not in allowed:
            yield f"{resource.address}: {resource.values['role']}"
    for provider in filter(is_for_plans, env.of("google_iam_workload_identity_pool_provider")):
        if not provider.values["attribute_condition"].endswith(" && assertion.event_name == 'pull_request'"):
            yield provider.address
    pools = [pool.values["workload_identity_pool_id"] for pool in env.of("google_iam_workload_identity_pool")]
    if len(set(pools)) != len(pools) or len(pools) > 2:
        yield f"pools: {pools}"


@each("what runs commands has the permissions that they need")
def permitted(env: Environment) -> Iterator[str]:
    """Grants are found by their addresses: members of the environment's own accounts are not known before they are made."""
    for need in NEEDS:
        roles = {item.values["role"] for item in env.resources if re.match(need.grants, item.address)}
        granted = set().union(*(ROLES.get(role, set()) for role in roles))
        if missing := need.permissions - granted:
            yield f"{need.command}: {sorted(missing)} not in {sorted(roles)}"


@each("smoke may use notes, and nothing else")
def smoke_only_tests(env: Environment) -> Iterator[str]:
    """Whoever tests impersonates it. In foundation its name is not known before it is made: there it is granted nothing."""
    grants = [item for item in env.resources if str(item.values.get("member")).startswith("serviceAccount:smoke-test@")]
    if [(item.type, item.values["role"]) for item in grants] != [
        ("google_iap_web_iam_member", "roles/iap.httpsResourceAccessor")
    ]:
        yield f"{[item.address for item in grants]}: {[item.values['role'] for item in grants]}"
    for item in env.resources:
        if re.search(r"_iam_member\.smoke\b", item.address) and item.type != "google_service_account_iam_member":
            yield item.address


@each("no sink, exclusion or filter drops the line of a request")
def no_line_dropped(env: Environment) -> Iterator[str]:
    yield from (item.address for item in env.resources if re.fullmatch(r"google_logging_\w+_exclusion", item.type))
    for sink in env.of("google_logging_project_sink"):
        if sink.values["exclusions"] or sink.values["name"] in ("_Default", "_Required"):
            yield sink.address
    for cluster in env.of("google_container_cluster"):
        if "WORKLOADS" not in (only(cluster.values, "logging_config", "enable_components") or []):
            yield f"{cluster.address}: containers' lines are not collected"


@each("images are kept where tags never move")
def immutable_tags(env: Environment) -> Iterator[str]:
    for registry in env.of("google_artifact_registry_repository"):
        signatures = str(registry.values["repository_id"]).endswith(SIGNATURES)
        if only(registry.values, "docker_config", "immutable_tags") is signatures:
            yield registry.address


@each("what a release can be gone back to is kept")
def kept(env: Environment) -> Iterator[str]:
    """Image, signature and attestations, of every release that a namespace remembers."""
    for registry in env.of("google_artifact_registry_repository"):
        policies = registry.values["cleanup_policies"]
        count = max((only(item, "most_recent_versions", "keep_count") or 0) for item in policies)
        # Of signatures each version has a list of its own.
        versions = 2 * (1 + len(ATTESTED)) if str(registry.values["repository_id"]).endswith(SIGNATURES) else 1
        if count < KEPT * versions:
            yield f"{registry.address}: {count} versions"


@each("the public services have names, the others none")
def public_names(env: Environment) -> Iterator[str]:
    names = [item.values["name"] for item in env.of("google_dns_record_set") if item.values.get("type") == "A"]
    if {str(name).split(".")[0] for name in names} != {one.name for one in public(EVERY, env.name)}:
        yield str(names)


@each("what Prometheus' rules tell of is told")
def every_rule(env: Environment) -> Iterator[str]:
    """But restarts, which the platform counts. A recorded series is replaced by its expression: nothing records it."""
    rules = {rule["alert"]: rule for rule in RULES if "alert" in rule}
    del rules["Restarts"]
    alerts = {item.values["display_name"]: item for item in env.of("google_monitoring_alert_policy")}
    for name in rules.keys() - alerts.keys():
        yield name
    for name in rules.keys() & alerts.keys():
        if "{{" in only(alerts[name].values, "documentation", "content"):
            yield f"{name}: a notification knows no such template"
        query = only(alerts[name].values, "conditions", "condition_prometheus_query_language", "query")
        if "service:" in query or not query.strip():
            yield f"{name}: asks for a series that nothing records"
    yield from (item.address for name, item in alerts.items() if ".rules[" in item.address and name not in rules)


@each("every dashboard is there")
def every_dashboard(env: Environment) -> Iterator[str]:
    """With its own panels; and it asks for no series that only rules record."""
    files = {path.stem: json.loads(path.read_text()) for path in (ROOT / "infra/dashboards").glob("*.json")}
    found = {
        item.address: json.loads(str(item.values["dashboard_json"])) for item in env.of("google_monitoring_dashboard")
    }
    for name, dashboard in files.items():
        if [each for address, each in found.items() if f'["{name}"]' in address] != [dashboard]:
            yield f"{name}: not what infra/dashboards has"
    yield from (f"{address}: a recorded series" for address, each in found.items() if "service:" in json.dumps(each))
    if len(files) < len(found) or not files:
        yield f"{len(found)} dashboards, {len(files)} files"


@each("Cloud Monitoring can evaluate every alert")
def can_be_evaluated(env: Environment) -> Iterator[str]:
    """At most 24 hours of metrics, and 25 with the time for which the condition must hold."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    for alert in env.of("google_monitoring_alert_policy"):
        query, duration = (only(alert.values, "conditions", "condition_prometheus_query_language", name)
                           for name in ("query", "duration"))  # fmt: skip
        if query is None:
            continue
        spans = re.findall(r"(?:\[|\boffset )((?:\d+[smhdw])+)", query)
        back = max(
            (sum(int(n) * units[u] for n, u in re.findall(r"(\d+)([smhdw])", span)) for span in spans), default=0
        )
        if back > 24 * 3600 or back + int(duration.rstrip("s")) > 25 * 3600:
            yield f"{alert.address}: looks back for {back} s"


@each("notes is guarded in every environment, and an outage of it is seen")
def guarded(env: Environment) -> Iterator[str]:
    """By the identity-aware proxy, which answers by itself: 401 is no sign of life."""
    overlay = ROOT / "k8s/overlays" / env.name / "kustomization.yaml"
    if overlay.exists() and "../../components/auth" not in yaml.safe_load(overlay.read_text())["components"]:
        yield "its overlay has no component auth"
    checks = [item.values for item in env.of("google_monitoring_uptime_check_config")]
    statuses = {
        each["http_check"][0]["path"]: [
            code["status_value"] for code in each["http_check"][0]["accepted_response_status_codes"]
        ]
        for each in checks
        if str(only(each, "monitored_resource", "labels", "host")).startswith("notes.")
    }
    if statuses != {"/v1/notes?limit=1": [401], "/openapi.json": []}:
        yield f"it is asked for {statuses}"


@each("in prod somebody is told of every alert")
def somebody_is_told(env: Environment) -> Iterator[str]:
    if not env.production:
        return
    if not env.of("google_monitoring_notification_channel"):
        yield "nobody to tell"
    for alert in env.of("google_monitoring_alert_policy"):
        if not alert.values.get("notification_channels") and not alert.unknown.get("notification_channels"):
            yield alert.address


@everywhere("what runs in an environment is read by the next one's CI, and by no other")
def promotion(environments: list[Environment]) -> Iterator[str]:
    named = {env.name: env for env in environments}
    for env in environments:
        wanted = promoters(named[NEXT[env.name]]) if env.name in NEXT else set()
        if strangers(env) != wanted:
            yield f"{env.name}: {strangers(env) ^ wanted}"


def promoters(env: Environment) -> set[tuple[str, str]]:
    """What an environment's CI needs in the one before: member, role."""
    (project,) = projects(env)
    there = {item.values["account_id"] for item in env.of("google_service_account")}
    roles = {"ci-deploy": "roles/container.viewer", "ci-images": "roles/artifactregistry.reader"}
    return {(f"serviceAccount:{name}@{project}.iam.gserviceaccount.com", roles[name]) for name in there & set(roles)}


def strangers(env: Environment) -> set[tuple[str, str]]:
    """What accounts of other projects may do. Their names are known; those of our own are not before they are made."""
    grants = ((item.values.get("member") or "", item.values.get("role", "")) for item in env.resources)
    own = tuple(f"@{project}.iam.gserviceaccount.com" for project in projects(env)) + GOOGLES
    return {grant for grant in grants if grant[0].startswith("serviceAccount:") and not grant[0].endswith(own)}


@everywhere("environments share neither projects nor states nor addresses")
def nothing_shared(environments: list[Environment]) -> Iterator[str]:
    for one, other in combinations(environments, 2):
        for what, found in (("projects", projects), ("states", states)):
            if found(one) & found(other):
                yield f"{one.name} and {other.name}: {what} {found(one) & found(other)}"
        for mine in ranges(one):
            yield from (f"{one.name}: {mine}, {other.name}: {its}" for its in ranges(other) if mine.overlaps(its))


def projects(env: Environment) -> set[str]:
    return {item.values["project"] for item in env.of("google_project_iam_member")}


def states(env: Environment) -> set[str]:
    return {item.values["name"] for item in env.of("google_storage_bucket") if item.address.endswith(".states")}


def ranges(env: Environment) -> list[Any]:
    return [
        ip_network(text)
        for subnetwork in env.of("google_compute_subnetwork")
        for text in (
            subnetwork.values["ip_cidr_range"],
            *(item["ip_cidr_range"] for item in subnetwork.values["secondary_ip_range"]),
        )
    ]
