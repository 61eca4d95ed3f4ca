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

# call all five systems and check the responses
[no-cd]
tour *args:
    @exec "{{ root }}/scripts/tour" "$@"

# all tests that need no cluster: unit, integration, sanitizers, lint; ends with "N passed, N failed"
test *args:
    @scripts/test "$@"

# build everything into ./build (debugoptimized)
build: (configure "build")
    @scripts/build build

# build the release binaries of all services into ./build-release
build-release: (configure "build-release" "--buildtype=release")
    @scripts/build build-release $(scripts/find-sources services)

# install the library for other repositories into PREFIX: headers, libraries, pkg-config files
[no-cd]
install-library prefix:
    @"{{ root }}/scripts/install-library" "$@"

# run unit tests; NAMES or options of meson test choose
unit *args:
    @scripts/unit "$@"

# run integration tests against real processes; pytest options choose
integration *args: build build-release
    @pytest tests/integration "$@"

# run gRPC's interop tests with clients in Go, Java, Python, JavaScript and Rust, and h2spec
interop *args: build
    @tests/interop/run "$@"

# lint the OpenAPI descriptions and test the running services against them
test-api *args: build
    @tests/api/run "$@"

# fuzz the code that reads untrusted bytes: just fuzz [TARGET|all [SECONDS]]
fuzz *args:
    @scripts/fuzz "$@"

# run this version beside that of a REVISION on the same data
test-versions revision: build
    @scripts/build-revision "$1" "{{ root }}/build-former"
    @SLIPWAY_FORMER_BUILD="{{ root }}/build-former" pytest tests/integration/test_versions.py

# run unit and integration tests with ASan and UBSan, then with TSan
sanitize:
    @scripts/test address thread

# format the code (--check: fail if that would change a file)
fmt *args:
    @scripts/fmt "$@"

# inject faults at random under load and check what clients observed (--help: --seed, --minutes, --engine, --kills)
torture *args:
    @scripts/torture "$@"

# simulate the store over etcd: many runs with faults, one for each seed (--seed N --trace: one run)
sim *args:
    @scripts/sim "$@"

# run attacks from public advisories against release binaries with their memory limits (--list: names)
attack *args: build-release
    @tests/attack/run "$@"

# generate manifests, policies, routes and monitoring from the declarations src/NAME/service.toml (--check)
generate *args:
    @scripts/generate "$@"

# create a service that passes all checks: just new-service quote [--grpc] [--store] [--public] [--calls SERVICE]
new-service *args:
    @scripts/new-service "$@"

# remove a service and everything generated for it: just remove-service quote
remove-service *name:
    @scripts/remove-service "$@"

# write all records of a store to FILE (URL: lmdb:///DIR or etcd://HOST:PORT/PREFIX)
[no-cd]
store-export url file: store-tool
    @"{{ root }}/build/store-tool" export "$@"

# read the records of FILE into an empty store; repeat it after an interruption
[no-cd]
store-import url file: store-tool
    @"{{ root }}/build/store-tool" import "$@"

# the same for a FILE that may lack the last writes: skips their sequence numbers, so that entity tags stay unique
[no-cd]
store-restore url file: store-tool
    @"{{ root }}/build/store-tool" restore "$@"

# take a checked snapshot of the etcd at ENDPOINT into FILE, list its contents in FILE.contents; flags are etcdctl's
[no-cd]
backup endpoint file *flags: store-tool
    @SLIPWAY_BUILD="{{ root }}/build" "{{ root }}/scripts/backup" save "$@"

# make a data folder for etcd from a snapshot and check it again; flags are etcdutl's, for each of several members
[no-cd]
restore file dir *flags: store-tool
    @SLIPWAY_BUILD="{{ root }}/build" "{{ root }}/scripts/backup" restore "$@"

# fetch, decrypt and check the newest stored backup of a cluster: just fetch-backup BUCKET IDENTITY FILE [NAME]
fetch-backup bucket identity file *name: store-tool
    @SLIPWAY_BUILD="{{ root }}/build" "{{ root }}/scripts/backup" fetch "$@"

# print log lines of a service, or of all: just logs SERVICE|all [--trace ID] [--errors] [--cluster]
[no-cd]
logs *args:
    @"{{ root }}/scripts/logs" "$@"

# print source lines for the crash reports in log lines: just symbolize [--build DIR] [FILE...]
[no-cd]
symbolize *args:
    @"{{ root }}/scripts/symbolize" "$@"

# check formatting; run clang-tidy, shellcheck and ruff
lint:
    @scripts/test lint

# run before a commit: lint, unit and integration tests
check:
    @scripts/test lint debug

# measure which lines of src/ the tests run; fails below 90 %
coverage *args:
    @scripts/coverage "$@"

# build the site from README.md and docs/ into build/site
docs *args:
    @scripts/docs "$@"

# run a benchmark beside a peer or a baseline and print ratios; without a name: lists them
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

# remove build results
clean:
    rm -rf build build-*

[private]
configure folder *options:
    @scripts/configure "$@"

[private]
store-tool: (configure "build")
    @scripts/build build store-tool
