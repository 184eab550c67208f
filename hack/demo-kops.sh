#!/usr/bin/env bash
# Rotates a whole cluster of kops on this machine, control plane included, and
# lets the kops command itself judge: before it finds every group in need of an
# update, after it nothing. `make demo-kops` builds what this needs first.
#
#   DEMO_NODES=6 DEMO_DIR=out/demo-kops make demo-kops
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/lib.sh

nodes=${DEMO_NODES:-6}
begin demo-kops "${DEMO_DIR:-out/demo-kops}"

step "A cluster of kops: $nodes nodes with workloads under budgets, three of control plane, a bastion"
sandbox_up --provider kops --nodes "$nodes"

# The lock is in the API server whose machines are replaced: it must outlive the
# end of one.
rotation=(--cluster "$KOPS_CLUSTER_NAME" --driver kops --driver-path "$bin/rotatord-driver-kops"
  --role bastion --role control-plane --role node --lock-duration 2m)

step "kops finds nothing to do yet"
run kops rolling-update cluster

step "A new machine image comes out, and kops finds all of it outdated"
run sandbox publish-image
run kops rolling-update cluster

step "The rotation"
before_rotation
run rotatord run "${rotation[@]}" --journal-dir "$dir/journal" --report-dir "$dir/report"
verdict --cluster "$KOPS_CLUSTER_NAME"

step "kops finds nothing to do any more, and neither does rotatord"
run kops rolling-update cluster | tee "$dir/kops.txt"
grep -q 'No rolling-update required' "$dir/kops.txt" || fail "kops still finds something to do"
nothing_to_do rotatord run "${rotation[@]}" --journal-dir "$dir/journal"

step "Done: every machine replaced, no budget violated. Reports are in ${dir#"$PWD"/}/report"
