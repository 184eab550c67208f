#!/usr/bin/env bash
# From "a new image is published" to "every node runs it", on this machine: a
# cluster of EKS with two managed node groups, which EKS itself rolls, and one
# group of workers, whose launch template gets the new image. `make demo-eks`
# builds what this needs first.
#
#   DEMO_NODES=9 DEMO_DIR=out/demo-eks make demo-eks
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/lib.sh

nodes=${DEMO_NODES:-9}
begin demo-eks "${DEMO_DIR:-out/demo-eks}"

# EKS works 60 times as fast as at AWS: its drain of 15 minutes takes 15 s at most.
step "A cluster of EKS: $nodes nodes with workloads under budgets, in two managed node groups and one of workers"
sandbox_up --provider eks-managed --nodes "$nodes" --eks-speedup 60

# No kubeconfig: the driver answers how to reach the cluster that it finds at EKS.
unset KUBECONFIG
rotation=(--cluster demo --driver eks --driver-path "$bin/rotatord-driver-eks")

step "Every group has the newest release"
run rotatord release check "${rotation[@]}"

step "A new release comes out: the check ends with exit code 7, which a scheduled job can act on"
run sandbox publish-release
code=0
run rotatord release check "${rotation[@]}" || code=$?
[ "$code" -eq 7 ] || fail "the check ended with exit code $code, want 7"
run rotatord plan "${rotation[@]}" --release latest

step "The rotation: make it the groups' release, then roll them to it"
before_rotation
run rotatord run "${rotation[@]}" --release latest --groups-at-once 2 --journal-dir "$dir/journal" --report-dir "$dir/report"
verdict

step "Every group has the newest release again, and a second run finds nothing to do"
run rotatord release check "${rotation[@]}"
nothing_to_do rotatord run "${rotation[@]}" --release latest --journal-dir "$dir/journal"

step "Done: every node runs the new release, no budget violated. Reports are in ${dir#"$PWD"/}/report"
