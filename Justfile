# ./dev RECIPE runs one of these with everything it needs; in a Nix shell it is just RECIPE.
set positional-arguments

root := justfile_directory()

[private]
default:
    @./dev --list

# build and run all services here; rebuild and restart after edits
[no-cd]
up *args:
    @exec "{{ root }}/scripts/up" "$@"

# walk through all five systems with real calls
[no-cd]
tour *args:
    @exec "{{ root }}/scripts/tour" "$@"

# everything that needs no cluster: unit, integration, sanitizers, lint; ends with "N passed, N failed"
test *args:
    @scripts/test "$@"

# build everything into ./build (debugoptimized)
build: (configure "build")
    @scripts/build build

# build the release binaries of all services into ./build-release
build-release: (configure "build-release" "--buildtype=release")
    @scripts/build build-release $(scripts/find-sources services)

# the library for other repositories, into PREFIX: headers, libraries, pkg-config files
[no-cd]
install-library prefix:
    @"{{ root }}/scripts/install-library" "$@"

# unit tests; NAMES or meson options choose
unit *args:
    @scripts/unit "$@"

# integration tests against real processes; pytest options choose
integration *args: build build-release
    @pytest tests/integration "$@"

# gRPC's interop tests with clients in Go, Java, Python, JavaScript and Rust; h2spec
interop *args: build
    @tests/interop/run "$@"

# the descriptions of HTTP APIs: linted, held against the running services
test-api *args: build
    @tests/api/run "$@"

# fuzz what reads the bytes of others: just fuzz [TARGET|all [SECONDS]]
fuzz *args:
    @scripts/fuzz "$@"

# this version beside that of a REVISION, on the same data
test-versions revision: build
    @scripts/build-revision "$1" "{{ root }}/build-former"
    @SLIPWAY_FORMER_BUILD="{{ root }}/build-former" pytest tests/integration/test_versions.py

# unit and integration tests under ASan and UBSan, then under TSan
sanitize:
    @scripts/test address thread

# format the code (--check: fail where that would change something)
fmt *args:
    @scripts/fmt "$@"

# kill and hinder services at random under load, judge what clients saw (--help: --seed, --minutes, --engine, --kills)
torture *args:
    @scripts/torture "$@"

# the store over etcd in a simulated world: many runs with faults, each from a seed (--seed N --trace: one of them)
sim *args:
    @scripts/sim "$@"

# attacks of public advisories against release binaries under their memory limits, beside an honest client (--list: names)
attack *args: build-release
    @tests/attack/run "$@"

# what follows from the declarations src/NAME/service.toml: manifests, policies, routes, monitoring, ... (--check)
generate *args:
    @scripts/generate "$@"

# a new service that passes every check: just new-service quote [--grpc] [--store] [--public] [--calls SERVICE]
new-service *args:
    @scripts/new-service "$@"

# undo it: just remove-service quote
remove-service *name:
    @scripts/remove-service "$@"

# all records of a store into FILE (URL: lmdb:///DIR or etcd://HOST:PORT/PREFIX)
[no-cd]
store-export url file: store-tool
    @"{{ root }}/build/store-tool" export "$@"

# the records of FILE into an empty store; repeat it where it was interrupted
[no-cd]
store-import url file: store-tool
    @"{{ root }}/build/store-tool" import "$@"

# the same where FILE may lack the last writes: sequence numbers, and so entity tags, go on far beyond theirs
[no-cd]
store-restore url file: store-tool
    @"{{ root }}/build/store-tool" restore "$@"

# a checked snapshot of the etcd at ENDPOINT into FILE, and what is in it into FILE.contents; flags are etcdctl's
[no-cd]
backup endpoint file *flags: store-tool
    @SLIPWAY_BUILD="{{ root }}/build" "{{ root }}/scripts/backup" save "$@"

# a data folder for etcd from a snapshot, checked again; flags are etcdutl's, for each of several members
[no-cd]
restore file dir *flags: store-tool
    @SLIPWAY_BUILD="{{ root }}/build" "{{ root }}/scripts/backup" restore "$@"

# the newest backup that the cluster has stored, decrypted and checked: just fetch-backup BUCKET IDENTITY FILE [NAME]
fetch-backup bucket identity file *name: store-tool
    @SLIPWAY_BUILD="{{ root }}/build" "{{ root }}/scripts/backup" fetch "$@"

# log lines of a service, or of all: just logs SERVICE|all [--trace ID] [--errors] [--cluster]
[no-cd]
logs *args:
    @"{{ root }}/scripts/logs" "$@"

# source lines for the crash reports in log lines: just symbolize [--build DIR] [FILE...]
[no-cd]
symbolize *args:
    @"{{ root }}/scripts/symbolize" "$@"

# formatting, clang-tidy, shellcheck, ruff
lint:
    @scripts/test lint

# what to run before a commit: lint, unit, integration
check:
    @scripts/test lint debug

# lines of src/ that the tests run, in %; fails below 90
coverage *args:
    @scripts/coverage "$@"

# the site out of README.md and docs/, into build/site
docs *args:
    @scripts/docs "$@"

# benchmarks as ratios beside a peer or a baseline; without a name: lists them
bench *args:
    @scripts/bench "$@"

# check that this commit can be released, and show what a release does (--push: do it)
release *args:
    @scripts/release "$@"

import 'nix/images.just'
import 'k8s/k8s.just'
import 'k8s/deploy.just'
import 'tests/e2e/e2e.just'
import 'infra/infra.just'

# remove what was built
clean:
    rm -rf build build-*

[private]
configure folder *options:
    @scripts/configure "$@"

[private]
store-tool: (configure "build")
    @scripts/build build store-tool
