#!/usr/bin/env bash
# Rotates a whole cluster on this machine and checks the result: a real
# Kubernetes control plane, a simulated AWS, the real rotatord and its driver.
# `make demo` builds what this needs first.
#
#   DEMO_NODES=12 DEMO_DIR=out/demo DEMO_CONFIG=examples/rotation.yaml make demo
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/lib.sh

nodes=${DEMO_NODES:-12}
config=${DEMO_CONFIG:-examples/rotation.yaml}
begin demo "${DEMO_DIR:-out/demo}"

step "A cluster of $nodes nodes, with workloads under budgets"
sandbox_up --nodes "$nodes"

step "Nothing is outdated yet"
run rotatord plan --config "$config"

step "A new machine image comes out"
run sandbox publish-image
run rotatord plan --config "$config"

step "The rotation"
before_rotation
run rotatord run --driver eks --config "$config" --journal-dir "$dir/journal" --report-dir "$dir/report"
verdict

step "A second run finds nothing to do"
nothing_to_do rotatord run --driver eks --config "$config" --journal-dir "$dir/journal"

step "Done: every node replaced, no budget violated. Reports are in ${dir#"$PWD"/}/report"
