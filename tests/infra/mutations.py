"""Mistakes made on purpose: for every assertion of a module or layer, and every policy, a change that it must find.

Runs that expect a value to be refused are not listed: their mistake is to accept it (accept_anything).
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    finds: str  # the assertion's message, or the policy's title
    file: str  # in infra/
    old: str  # once in the file
    new: str

    def apply(self, text: str) -> str:
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file}: {text.count(self.old)} times: {self.old}")
        return text.replace(self.old, self.new)


def in_file(file: str, *rows: tuple[str, str, str]) -> list[Mutation]:
    return [Mutation(finds, file, old, new) for finds, old, new in rows]


def accept_anything(text: str, variable: str) -> str:
    """A variables.tf in which the variable's validations accept every value."""
    start = text.index(f'variable "{variable}" {{')
    end = text.index("\n}\n", start)
    block, count = re.subn(r"\bcondition( *)= ", r"condition\1= true || ", text[start:end])
    if not count:
        raise ValueError(f"{variable} has no validation")
    return text[:start] + block + text[end:]


# What is put in front of a line, or behind it.
KEY = """resource "google_service_account_key" "key" {
  service_account_id = google_service_account.nodes.name
}

"""

SMOKE_READS = """resource "google_project_iam_member" "smoke" {
  project = var.project
  role    = "roles/viewer"
  member  = google_service_account.smoke.member
}

"""

EXCLUSIONS = """  exclusions {
    name   = "x"
    filter = "httpRequest.status=200"
  }"""

EXCLUSION = """resource "google_logging_project_exclusion" "x" {
  name   = "x"
  filter = "httpRequest.status=200"
}

"""

# What the assertions of each folder find.
MODULES: dict[str, list[Mutation]] = {
    "modules/network": in_file(
        "modules/network/main.tf",
        ("only the subnetworks that are named", "auto_create_subnetworks = false", "auto_create_subnetworks = true"),
        (
            "Google's services are reached without public addresses",
            "private_ip_google_access = true",
            "private_ip_google_access = false",
        ),
        (
            "nodes and pods reach the outside by NAT",
            '"ALL_SUBNETWORKS_ALL_IP_RANGES"',
            '"ALL_SUBNETWORKS_ALL_PRIMARY_IP_RANGES"',
        ),
        ("pods and services have ranges of their own", "= var.ranges.services", "= var.ranges.pods"),
        ("flows are logged where asked for", "var.flow_sampling > 0 ?", "var.flow_sampling >= 0 ?"),
        ("flows are sampled as asked for", "= log_config.value", "= 1"),
        ("Google's health checkers reach the nodes, and nobody else", '"130.211.0.0/22"]', '"0.0.0.0/0"]'),
        ("health checks reach the admin port", '["9090"]', '["8080"]'),
        ("the rule applies to the cluster's nodes", "[var.node_service_account]", '["x@example.com"]'),
    ),
    "modules/plans": in_file(
        "modules/plans/main.tf",
        (
            "only pull requests of the repository are believed, in the environment for plans",
            "assertion.event_name == 'pull_request'",
            "assertion.event_name != ''",
        ),
        (
            "the account is for every job that the pool believes, whatever the format of its subject",
            'workload_identity_pool_id}/*"',
            'workload_identity_pool_id}/subject/repo:${var.repository}:environment:plan-${var.environment}"',
        ),
        ("who plans only reads", '"roles/viewer"', '"roles/editor"'),
        ("who plans reads the states, and locks none", '"roles/storage.objectViewer"', '"roles/storage.objectUser"'),
    ),
    "modules/registry": in_file(
        "modules/registry/main.tf",
        ("tags never move", "immutable_tags = true", "immutable_tags = false"),
        ("20 images are kept", "var.keep.images * each", "10 * each"),
        ("the signatures and attestations of 20 images are kept", "versions       = 6", "versions       = 1"),
        ("the list of an image's signatures is a tag that moves", "immutable_tags = false", "immutable_tags = true"),
        ("signatures are where scripts/deploy looks for them", '-signatures"', '-attestations"'),
        (
            "who pulls images may read their signatures",
            "keys(local.repositories), keys(var.readers)",
            '["images"], keys(var.readers)',
        ),
        ("old images are deleted after 30 days", "var.keep.days * 24", "var.keep.days * 23"),
        ("old images are really deleted", "cleanup_policy_dry_run = false", "cleanup_policy_dry_run = true"),
        ("who pulls may only read", '"roles/artifactregistry.reader"', '"roles/artifactregistry.repoAdmin"'),
        (
            "who pushes may write, and neither delete nor administer",
            '"roles/artifactregistry.writer"',
            '"roles/artifactregistry.repoAdmin"',
        ),
    ),
    "modules/state": in_file(
        "modules/state/main.tf",
        ("states are never public", '"enforced"', '"inherited"'),
        ("access is by IAM alone", "uniform_bucket_level_access = true", "uniform_bucket_level_access = false"),
        ("a state that was overwritten can be had again", "enabled = true", "enabled = false"),
        ("a state that was deleted can be had again", "30 * 24 * 60 * 60", "0"),
        ("a bucket with states in it cannot be destroyed", "= false", "= true"),
        ("no rule deletes a state that is in use", '"ARCHIVED"', '"ANY"'),
    ),
    "modules/gke": in_file(
        "modules/gke/main.tf",
        ("Autopilot unless told otherwise", "var.autopilot ? true : null", "null"),
        ("Autopilot has no pool of ours", "var.autopilot ? 0 : 1", "1"),
        (
            "Autopilot's nodes have our identity, not the project's default one",
            "        service_account = var.node_service_account",
            '        service_account = "default"',
        ),
        ("nodes have no public addresses", "enable_private_nodes    = true", "enable_private_nodes    = false"),
        (
            "nobody reaches the control plane's address unless named",
            "for_each = var.authorized_networks",
            'for_each = merge(var.authorized_networks, { me = "192.0.2.0/24" })',
        ),
        (
            "other people's machines in the same cloud are not trusted",
            "gcp_public_cidrs_access_enabled = false",
            "gcp_public_cidrs_access_enabled = true",
        ),
        (
            "the CI reaches the control plane by its DNS name",
            "allow_external_traffic = true",
            "allow_external_traffic = false",
        ),
        ("no client certificates", "issue_client_certificate = false", "issue_client_certificate = true"),
        ("protected where asked for", "= var.protected", "= false"),
        ("unprotected where asked for", "= var.protected", "= true"),
        ("the Gateway API is there", '"CHANNEL_STANDARD"', '"CHANNEL_DISABLED"'),
        (
            "the lines of all containers are collected",
            '["SYSTEM_COMPONENTS", "WORKLOADS"]',
            '["SYSTEM_COMPONENTS"]',
        ),
        (
            "managed Prometheus is there",
            "managed_prometheus {\n      enabled = true",
            "managed_prometheus {\n      enabled = false",
        ),
        ("any image unless told otherwise", "var.only_own_images ? 1 : 0", "1"),
        ("Standard has no pool but ours", "var.autopilot ? null : true\n  enable_shielded", "null\n  enable_shielded"),
        ("NetworkPolicies are enforced", '"ADVANCED_DATAPATH"', '"LEGACY_DATAPATH"'),
        ("Workload Identity is on", '"${var.project}.svc.id.goog"', '""'),
        ("pods do not see the node's identity", '"GKE_METADATA"', '"GCE_METADATA"'),
        (
            "Standard's nodes have our identity, not the project's default one",
            "    service_account = var.node_service_account\n    oauth",
            '    service_account = "default"\n    oauth',
        ),
        ("nodes boot what is signed", "enable_secure_boot          = true", "enable_secure_boot          = false"),
        ("an upgrade adds a node before it takes one", "max_unavailable = 0", "max_unavailable = 1"),
        ("the pool grows as far as told", "= var.nodes.max", "= var.nodes.min"),
        ("the cluster asks the policy", '"PROJECT_SINGLETON_POLICY_ENFORCE"', '"DISABLED"'),
        (
            "images without an attestation are refused",
            '"REQUIRE_ATTESTATION"',
            '"ALWAYS_ALLOW"',
        ),
        ("it is our attestor that counts", "= [var.attestor]", '= ["projects/x/attestors/x"]'),
        ("no scanning is asked for that GKE no longer has", '"VULNERABILITY_DISABLED"', '"VULNERABILITY_BASIC"'),
        ("Secrets are encrypted", '"ENCRYPTED"', '"DECRYPTED"'),
        ("Secrets are encrypted with the key that is named", "= var.secrets_key", '= "x"'),
        ("RBAC knows Google groups", "= var.security_group", '= "x"'),
        ("refusing is not just reporting", '"ENFORCED_BLOCK_AND_AUDIT_LOG"', '"DRYRUN_AUDIT_LOG_ONLY"'),
        ("only images that are named start without an attestation", "= admission_whitelist_patterns.value", '= "*"'),
        ("who is named reaches the control plane's address", "= cidr_blocks.value", '= "192.0.2.0/24"'),
    ),
    "modules/identity": in_file(
        "modules/identity/main.tf",
        (
            "only jobs of the repository are believed",
            "assertion.repository == '${var.ci.repository}'",
            "assertion.repository != ''",
        ),
        (
            "the repository is meant by number, too",
            "assertion.repository_id == '${var.ci.repository_id}'",
            "assertion.repository_id != ''",
        ),
        (
            "the job runs in the environment, where its reviewers have to agree",
            "assertion.environment == '${var.environment}'",
            "assertion.environment != ''",
        ),
        ("the job runs on the branch that is named", "assertion.ref == '${var.ci.ref}'", "assertion.ref != ''"),
        ("every part of the condition must hold", 'join(" && ",', 'join(" || ",'),
        (
            "tokens of one issuer are believed",
            '"https://token.actions.githubusercontent.com"',
            '"https://token.example.com"',
        ),
        (
            "an account is for the jobs of one workflow, as it is on the branch",
            "${each.value.workflow}@${var.ci.ref}",
            "${each.value.workflow}@refs/heads/any",
        ),
        ("the workflow is the one that the job itself is in", "assertion.job_workflow_ref", "assertion.workflow_ref"),
        (
            "nobody owns the project where no workflow changes the infrastructure",
            "= var.ci.workflows.infra",
            '= "infra.yaml"',
        ),
        (
            "who deploys does not own the project",
            "workflows/${each.value.workflow}",
            "workflows/${var.ci.workflows.deploy}",
        ),
        ("nobody is owner or editor", '"roles/artifactregistry.admin"', '"roles/owner"'),
        (
            "who plans the infrastructure reads the public key of attestations",
            '        "roles/cloudkms.publicKeyViewer", #',
            "        #",
        ),
        (
            "who deploys can do nothing else",
            '["roles/container.developer"]',
            '["roles/container.developer", "roles/viewer"]',
        ),
        ("who pushes images can do nothing else", "roles       = []", 'roles       = ["roles/viewer"]'),
        ("a node has what a node needs", '"roles/container.defaultNodeServiceAccount"', '"roles/container.admin"'),
        (
            "nobody but the CI tests as smoke unless named",
            "}, var.deployers)",
            '}, var.deployers, { x = "group:x" })',
        ),
        ("people who deploy test as the CI does", "}, var.deployers)", "}, { operators = var.environment })"),
        (
            "who tests may impersonate smoke as gcloud does it: an access token, then an identity token",
            '"roles/iam.serviceAccountTokenCreator"',
            '"roles/iam.serviceAccountOpenIdTokenCreator"',
        ),
        (
            "developers may connect to the cluster, and nothing else",
            '"roles/container.clusterViewer"',
            '"roles/container.viewer"',
        ),
        ("who promotes may look, and nothing else", '"roles/container.viewer"', '"roles/container.developer"'),
        (
            "who deploys in the next environment sees what runs here",
            "ci-deploy@${var.next_project}",
            "ci-infra@${var.next_project}",
        ),
    )
    + in_file(
        "modules/identity/variables.tf",
        ("nobody of another project comes in unless named", "default     = null", 'default     = "slipway-other"'),
    )
    + in_file(
        "modules/identity/outputs.tf",
        (
            "who pushes there pulls here",
            "ci-images@${var.next_project}",
            "ci-deploy@${var.next_project}",
        ),
        (
            "nobody else pushes here",
            '{ ci = google_service_account.ci["images"].member }',
            '{ ci = google_service_account.ci["images"].member, next = "x" }',
        ),
    ),
    "modules/dns-and-certificates": in_file(
        "modules/dns-and-certificates/main.tf",
        ("every host has a name", '"${each.value}.${var.domain}."', '"${var.domain}."'),
        (
            "every name leads to the Gateway's address",
            "[google_compute_global_address.gateway.address]",
            '["192.0.2.1"]',
        ),
        ("the zone is signed", 'state = "on"', 'state = "off"'),
        ("one certificate covers the domain and every host", "= local.domains\n", "= [var.domain]\n"),
        (
            "the certificate is proved by DNS",
            "[google_certificate_manager_dns_authorization.domain.id]",
            "[]",
        ),
        (
            "the proof is published",
            "[google_certificate_manager_dns_authorization.domain.dns_resource_record[0].data]",
            '["elsewhere."]',
        ),
        ("the map has the domain and every host", "wildcard = local.domains[1]", "wildcard = local.domains[0]"),
        ("TLS 1.2 at least", '"TLS_1_2"', '"TLS_1_0"'),
        ("health and metrics cannot be reached", "metrics|healthz|readyz", "metrics"),
        ("an address has its limit", "= var.requests_per_minute", "= 1000000"),
        ("the WAF refuses the usual attacks", '    "rce-v33-stable",\n', ""),
        (
            "PUT, PATCH and DELETE are let through",
            '"scannerdetection-v33-stable",',
            '"methodenforcement-v33-stable", "scannerdetection-v33-stable",',
        ),
        ("in preview the WAF only logs", "= var.waf_preview", "= false"),
        ("the WAF reads JSON bodies field by field", 'json_parsing = "STANDARD"', 'json_parsing = "DISABLED"'),
        ("no two rules have one priority", "priority    = 2000", "priority    = 1000"),
        ("the default rule is there", "priority    = 2147483647", "priority    = 3000"),
    )
    + in_file(
        "modules/dns-and-certificates/outputs.tf",
        ("the DS record for the parent's zone is known", "key_signing_keys[0].ds_record", "zone_signing_keys[0].id"),
    ),
    "modules/keys": in_file(
        "modules/keys/main.tf",
        ("the keys are where the cluster is", "= var.region", '= "global"'),
        ("the key of the Secrets is rotated every 90 days", "90 * 24", "900 * 24"),
        ("GKE itself encrypts, in this project", "service-${var.project_number}", "service-1"),
        (
            "GKE may use the key, and not administer it",
            '"roles/cloudkms.cryptoKeyEncrypterDecrypter"',
            '"roles/cloudkms.admin"',
        ),
        ("attestations are signed with ECDSA on P-256", '"EC_SIGN_P256_SHA256"', '"EC_SIGN_P384_SHA384"'),
        (
            "who attests may sign, and not administer the key",
            '"roles/cloudkms.signerVerifier"',
            '"roles/cloudkms.admin"',
        ),
    ),
    "modules/attestor": in_file(
        "modules/attestor/main.tf",
        (
            "the attestor trusts the key in KMS",
            "id = data.google_kms_crypto_key_version.attestations.id",
            'id = "//cloudkms.googleapis.com/v1/${data.google_kms_crypto_key_version.attestations.id}"',
        ),
        ("the attestor has the key's public part", ".public_key[0].pem", ".public_key[0].algorithm"),
        ("the attestor expects the key's algorithm", '"ECDSA_P256_SHA256"', '"ECDSA_P384_SHA384"'),
        (
            "who attests may attach to the note and list what is attached, and not change the note",
            ', "roles/containeranalysis.notes.occurrences.viewer"]',
            "]",
        ),
        (
            "who attests may store attestations",
            '"roles/containeranalysis.occurrences.editor"',
            '"roles/containeranalysis.admin"',
        ),
        (
            "who attests may read the attestor and have it verify, and not change it",
            '"roles/binaryauthorization.attestorsVerifier"',
            '"roles/binaryauthorization.attestorsAdmin"',
        ),
        (
            "all of it is granted to one account",
            'occurrences.editor"\n  member  = var.attester',
            'occurrences.editor"\n  member  = "serviceAccount:other@example.com"',
        ),
    )
    + in_file(
        "modules/attestor/outputs.tf",
        (
            "the key version is named as gcloud names it",
            'trimprefix(data.google_kms_crypto_key_version.attestations.id, "//cloudkms.googleapis.com/v1/")',
            "data.google_kms_crypto_key_version.attestations.id",
        ),
    ),
    "modules/backups": [
        *in_file(
            "modules/backups/main.tf",
            ("backups are where told", "= var.location", '= "US"'),
            ("nobody deletes a backup within 30 days", "var.retain_days * 24", "var.retain_days * 1"),
            ("a backup is deleted after 35 days", "= var.keep_days", "= 365"),
            ("backups are never public", '"enforced"', '"inherited"'),
            (
                "a bucket with backups in it cannot be destroyed",
                "force_destroy               = false",
                "force_destroy               = true",
            ),
            (
                "the job adds backups, and neither reads nor deletes any",
                '"roles/storage.objectCreator"',
                '"roles/storage.objectUser"',
            ),
            ("only the job writes backups", "/sa/${var.service_account}", "/sa/*"),
            (
                "who restores may read, and neither change nor delete",
                '"roles/storage.objectViewer"',
                '"roles/storage.objectAdmin"',
            ),
        ),
    ],
    "modules/observability": [
        *in_file(
            "modules/observability/logs.tf",
            (
                "no sink excludes a line",
                "unique_writer_identity = true",
                "unique_writer_identity = true\n" + EXCLUSIONS,
            ),
            (
                "the archive takes all lines of the services",
                'namespace_name=\\"${var.namespace}\\""\n  unique',
                'namespace_name=\\"${var.namespace}\\" AND severity>=ERROR"\n  unique',
            ),
            ("lines stay in the explorer's bucket as long as told", "= var.log_days", "= 1"),
            ("the view shows what containers print", 'k8s_container\\"" # of', 'k8s_cluster\\"" # of'),
            ("who reads the view reads no other logs", '"roles/logging.viewAccessor"', '"roles/logging.viewer"'),
            ("the archive is never public", '"enforced"', '"inherited"'),
            ("the archive forgets when told", "age = var.archive_days", "age = 1"),
            (
                "the sink can write, and neither read nor delete",
                '"roles/storage.objectCreator"',
                '"roles/storage.objectAdmin"',
            ),
        ),
        Mutation(
            "no archive unless asked for",
            "modules/observability/variables.tf",
            "default     = 0\n",
            "default     = 1\n",
        ),
        *in_file(
            "modules/observability/rules.tf",
            ("each rule is an alert, as urgent as it says", '== "page"', '!= "page"'),
            ("the rule's own expression is asked", "= each.value.expr", '= "up == 0"'),
            ("it must hold as long as the rule says", "${each.value.for_s}s", "0s"),
            ("an alert can be made before its metric is there", "= true #", "= false #"),
            ("what is said names instance and value", "humanizeDuration }}", "humanize }}"),
        ),
        Mutation(
            "a crash report of a service is told",
            "modules/observability/crashes.tf",
            "jsonPayload.crash.signal:*",
            "jsonPayload.crash:none",
        ),
        *in_file(
            "modules/observability/dashboards.tf",
            ("a dashboard is made of its JSON", "= each.value", '= replace(each.value, "Demo", "Other")'),
        ),
        *in_file(
            "modules/observability/main.tf",
            (
                "somebody is told of every alert",
                'severity              = "CRITICAL"\n  notification_channels = local.channels',
                'severity              = "CRITICAL"\n  notification_channels = []',
            ),
            ("what is named is asked from outside", "for name, path in var.guarded : ", "for name, path in {} : "),
            (
                "the check goes by the public name and looks at the certificate",
                "validate_ssl = true",
                "validate_ssl = false",
            ),
            (
                "a guarded service has to answer, too: 401 of the proxy is no sign of life",
                "statuses = [], headers",
                "statuses = [401], headers",
            ),
            ("without a token there is 401", "= accepted_response_status_codes.value", "= 200"),
            ("the proxy is asked as a program does", '"XMLHttpRequest" }', '"" }'),
            (
                "an outage and a missing guard are different alerts",
                '"${name} does not ask for a token"',
                '"${name} cannot be reached"',
            ),
        ),
    ],
    "layers/state": in_file(
        "modules/state/outputs.tf",
        ("the bucket is the one that all layers name", "google_storage_bucket.states.name", '"x"'),
    ),
    "layers/foundation": in_file(
        "modules/registry/outputs.tf",
        ("images are in the environment's region", "${var.region}-docker", "eu-docker"),
    ),
    "layers/cluster": in_file(
        "modules/gke/outputs.tf",
        ("the cluster is spread over the region", "google_container_cluster.cluster.location", '"europe-west1-b"'),
    ),
    "layers/platform": [
        *in_file(
            "modules/dns-and-certificates/outputs.tf",
            ("services are below the environment's domain", "https://${host}.${var.domain}", "http://${host}"),
        ),
        *in_file(
            "layers/platform/main.tf",
            ("a release can test notes", "serviceAccount:smoke-test@", "serviceAccount:other@"),
        ),
    ],
    "layers/alerts": in_file(
        "layers/alerts/main.tf",
        ("budgets that burn are alerts", 'rule.alert != "Restarts"', 'rule.alert == "Restarts"'),
    ),
}


# What the policies find, in the plan of a layer for an environment.
POLICIES: dict[tuple[str, str], list[Mutation]] = {
    ("cluster", "prod"): [
        *in_file(
            "modules/gke/main.tf",
            ("nodes have no public addresses", "enable_private_nodes    = true", "enable_private_nodes    = false"),
            (
                "the control plane's address answers only to networks that are named, none of them large",
                "gcp_public_cidrs_access_enabled = false",
                "gcp_public_cidrs_access_enabled = true",
            ),
            (
                "the control plane's address answers only to networks that are named, none of them large",
                "= cidr_blocks.value",
                '= "0.0.0.0/0"',
            ),
            (
                "prod runs images that the CI has attested",
                '"PROJECT_SINGLETON_POLICY_ENFORCE"',
                '"DISABLED"',
            ),
            ("prod runs images that the CI has attested", '"REQUIRE_ATTESTATION"', '"ALWAYS_ALLOW"'),
            ("the cluster's Secrets are encrypted with a key of the environment", '"ENCRYPTED"', '"DECRYPTED"'),
            ("nothing is asked for that Google no longer has", '"VULNERABILITY_DISABLED"', '"VULNERABILITY_BASIC"'),
            (
                "no sink, exclusion or filter drops the line of a request",
                '["SYSTEM_COMPONENTS", "WORKLOADS"]',
                '["SYSTEM_COMPONENTS"]',
            ),
        ),
        Mutation(
            "the cluster is protected from deletion in prod, and nowhere else",
            "layers/cluster/main.tf",
            'var.environment.name == "prod"',
            "false",
        ),
    ],
    ("cluster", "stage"): [
        Mutation(
            "the cluster is protected from deletion in prod, and nowhere else",
            "layers/cluster/main.tf",
            'var.environment.name == "prod"',
            "true",
        ),
    ],
    ("foundation", "prod"): [
        *in_file(
            "modules/network/main.tf",
            ("health checks reach the admin port", '["9090"]', '["8080"]'),
            ("health checks reach the admin port", '"35.191.0.0/16", ', ""),
        ),
        Mutation(
            "nothing is granted to everybody",
            "layers/foundation/main.tf",
            "= module.identity.image_readers",
            '= { nodes = "allUsers" }',
        ),
        Mutation(
            "images are kept where tags never move",
            "modules/registry/main.tf",
            "immutable_tags = true",
            "immutable_tags = false",
        ),
        *(
            Mutation("what runs commands has the permissions that they need", f"modules/{file}", old, new)
            for file, old, new in (
                ("attestor/main.tf", ', "roles/containeranalysis.notes.occurrences.viewer"]', "]"),
                ("attestor/main.tf", '"roles/containeranalysis.notes.attacher", ', ""),
                ("attestor/main.tf", "attestorsVerifier", "attestorsViewer"),
                ("keys/main.tf", "cloudkms.signerVerifier", "cloudkms.verifier"),
                (
                    "identity/main.tf",
                    '"roles/iam.serviceAccountTokenCreator"',
                    '"roles/iam.serviceAccountOpenIdTokenCreator"',
                ),
                ("identity/main.tf", "for_each = var.developers", "for_each = {}"),
                ("identity/main.tf", '["roles/container.developer"]', '["roles/container.viewer"]'),
                ("plans/main.tf", '    "roles/cloudkms.publicKeyViewer",', "    #"),
            )
        ),
        *(
            Mutation("names and descriptions are as Google takes them", "modules/identity/main.tf", old, new)
            for old, new in (('"gke-nodes"', '"nodes"'), ('"smoke-test"', '"smoke"'), ('"ci-jobs"', '"ci"'))
        ),
        *in_file(
            "modules/plans/main.tf",
            ("what pull requests run changes nothing", '"roles/viewer"', '"roles/editor"'),
            ("what pull requests run changes nothing", '"pull-requests"', '"ci-jobs"'),
            ("what pull requests run changes nothing", "    \"assertion.event_name == 'pull_request'\",\n", ""),
        ),
        *in_file(
            "modules/identity/main.tf",
            (
                "smoke may use notes, and nothing else",
                'resource "google_service_account" "smoke" {',
                SMOKE_READS + 'resource "google_service_account" "smoke" {',
            ),
            (
                "there are no keys",
                'resource "google_service_account" "nodes" {',
                KEY + 'resource "google_service_account" "nodes" {',
            ),
            ("jobs of one repository are believed, in the environment of this name", 'join(" && ",', 'join(" || ",'),
            (
                "jobs of one repository are believed, in the environment of this name",
                "assertion.repository == '${var.ci.repository}'",
                "assertion.repository.startsWith('${var.ci.repository}')",
            ),
            (
                "jobs of one repository are believed, in the environment of this name",
                "assertion.environment == '${var.environment}'",
                "assertion.environment == 'dev'",
            ),
            (
                "jobs of one branch or tag are believed, those of the workflow that deploys there",
                "assertion.ref == '${var.ci.ref}'",
                "assertion.ref != ''",
            ),
            (
                "jobs of one branch or tag are believed, those of the workflow that deploys there",
                '}/attribute.workflow",',
                '}/attribute.repository",',
            ),
        ),
    ],
    ("foundation", "dev"): [
        Mutation(
            "jobs of one branch or tag are believed, those of the workflow that deploys there",
            "environments/dev/foundation.tfvars",
            "deploy.yaml",
            "promote.yaml",
        ),
        Mutation(
            "what runs in an environment is read by the next one's CI, and by no other",
            "layers/foundation/main.tf",
            "= module.identity.image_readers",
            '= { for name, member in module.identity.image_readers : name => member if name == "nodes" }',
        ),
        *(
            Mutation("what runs in an environment is read by the next one's CI, and by no other", file, old, new)
            for file, old, new in (
                ("environments/dev/foundation.tfvars", '"slipway-example-stage"', '"slipway-example-prod"'),
                ("environments/dev/foundation.tfvars", 'next_project = "slipway-example-stage"', ""),
                ("modules/identity/main.tf", '"roles/container.viewer"', '"roles/container.developer"'),
            )
        ),
    ],
    ("foundation", "stage"): [
        Mutation(
            "what a release can be gone back to is kept",
            "modules/registry/main.tf",
            "versions       = 6",
            "versions       = 2",
        ),
        Mutation(
            "environments share neither projects nor states nor addresses",
            "environments/stage/foundation.tfvars",
            '"10.68.0.0/16"',
            '"10.64.0.0/14"',
        ),
        Mutation(
            "environments share neither projects nor states nor addresses",
            "environments/stage/environment.tfvars",
            '"slipway-example-stage"',
            '"slipway-example-dev"',
        ),
    ],
    ("state", "stage"): [
        Mutation(
            "environments share neither projects nor states nor addresses",
            "environments/stage/backend.tfvars",
            "-stage-states",
            "-dev-states",
        ),
        Mutation("no bucket can be made public", "modules/state/main.tf", '"enforced"', '"inherited"'),
    ],
    ("alerts", "dev"): in_file(
        "layers/alerts/main.tf",
        (
            "notes is guarded in every environment, and an outage of it is seen",
            'service.probe if service.probe != ""',
            '(service.guarded != "" ? service.guarded : service.probe) if service.probe != ""',
        ),
        (
            "notes is guarded in every environment, and an outage of it is seen",
            'service.guarded if service.guarded != ""',
            'service.guarded if name == ""',
        ),
    ),
    ("platform", "dev"): in_file(
        "services.yaml",
        ("the public services have names, the others none", "not_in: [dev]", "not_in: []"),
    ),
    ("platform", "stage"): in_file(
        "modules/dns-and-certificates/main.tf",
        (
            "names and descriptions are as Google takes them",
            "it never matches.",
            "the one before it matches everybody.",
        ),
    )
    + in_file(
        "layers/platform/main.tf",
        ("smoke may use notes, and nothing else", '"roles/iap.httpsResourceAccessor"', '"roles/iap.admin"'),
    ),
    ("platform", "prod"): [
        Mutation(
            "the public services have names, the others none",
            "services.yaml",
            "notes: {",
            'users: {probe: "", guarded: "", not_in: []}\nnotes: {',
        ),
        *(
            Mutation(
                "backups are elsewhere, and neither the job nor anybody else can delete them",
                "modules/backups/main.tf",
                old,
                new,
            )
            for old, new in (
                ("= var.location", '= "europe-west1"'),
                ('"roles/storage.objectCreator"', '"roles/storage.objectAdmin"'),
            )
        ),
    ],
    ("alerts", "prod"): [
        Mutation("no bucket can be made public", "modules/observability/logs.tf", '"enforced"', '"inherited"'),
        Mutation(
            "no sink, exclusion or filter drops the line of a request",
            "modules/observability/logs.tf",
            "unique_writer_identity = true",
            "unique_writer_identity = true\n" + EXCLUSIONS,
        ),
        Mutation(
            "no sink, exclusion or filter drops the line of a request",
            "modules/observability/logs.tf",
            'resource "google_logging_project_sink" "archive" {',
            EXCLUSION + 'resource "google_logging_project_sink" "archive" {',
        ),
        *in_file(
            "layers/alerts/main.tf",
            ("what Prometheus' rules tell of is told", '!= "Restarts"', '!= "EtcdNearlyFull"'),
            ("what Prometheus' rules tell of is told", "can(local.records[part]) ?", "false ?"),
            ("every dashboard is there", 'dashboards", "*.json")', 'dashboards", "d*.json")'),
        ),
        Mutation(
            "what Prometheus' rules tell of is told",
            "modules/observability/rules.tf",
            "\\$value[^}]*",
            "\\$value *",
        ),
        Mutation(
            "Cloud Monitoring can evaluate every alert",
            "modules/observability/rules.tf",
            "= each.value.expr",
            '= replace(each.value.expr, "[20h]", "[26h]")',
        ),
        Mutation(
            "in prod somebody is told of every alert", "modules/observability/main.tf", "= var.emails", "= toset([])"
        ),
        Mutation(
            "in prod somebody is told of every alert",
            "modules/observability/rules.tf",
            "  notification_channels = local.channels\n",
            "",
        ),
    ],
}
