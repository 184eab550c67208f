#!/usr/bin/env bash
# Rotates a whole cluster of kops on this machine, control plane included, and
# lets the kops command itself judge: before it finds every group in need of an
# update, after it nothing. `make demo-kops` builds what this needs first.
# Everything it starts listens on loopback only, and ends with it.
#
#   DEMO_NODES=6 DEMO_DIR=out/demo-kops make demo-kops
set -euo pipefail
cd "$(dirname "$0")/.."

nodes=${DEMO_NODES:-6}
dir=$PWD/${DEMO_DIR:-out/demo-kops}
bin=$PWD/bin

step() { printf '\n\033[1m==> %s\033[0m\n' "$*"; }
[ -t 1 ] || step() { printf '\n==> %s\n' "$*"; }
run() {
  echo "\$ $*"
  "$bin/$1" "${@:2}"
}
fail() {
  echo "demo-kops: $*" >&2
  exit 1
}

rm -rf "$dir"
mkdir -p "$dir"

# The sandbox ends when its stdin is closed: when this script ends in whatever
# way, kill -9 included, the pipe closes.
step "A cluster of kops: $nodes nodes with workloads under budgets, three of control plane, a bastion"
coproc SANDBOX { exec "$bin/sandbox" up --provider kops --dir "$dir/sandbox" --nodes "$nodes" --exit-on-stdin-close 2>"$dir/sandbox.log"; }
pid=$SANDBOX_PID
from=${SANDBOX[0]} hold=${SANDBOX[1]} # bash unsets SANDBOX when the coprocess ends
tidy() {
  code=$?
  exec {hold}>&-
  kill "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  [ "$code" -eq 0 ] || echo "demo-kops: failed with exit code $code; logs are in $dir" >&2
  exit "$code"
}
trap tidy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if ! read -r -t 300 ready <&"$from" || [ "${ready%% *}" != ready ]; then
  tail -n 20 "$dir/sandbox.log" >&2
  fail "the sandbox did not get ready"
fi
echo "$ready"
for assignment in ${ready#ready }; do export "${assignment?}"; done

# The lock is in the API server whose machines are replaced: it must outlive the
# end of one.
rotation=(--cluster "$KOPS_CLUSTER_NAME" --driver kops --driver-path "$bin/rotatord-driver-kops"
  --role bastion --role control-plane --role node --lock-duration 2m)

step "kops finds nothing to do yet"
run kops rolling-update cluster

step "A new machine image comes out, and kops finds all of it outdated"
run sandbox publish-image
run kops rolling-update cluster
"$bin/sandbox" verify --output json >"$dir/before.json"

step "The rotation"
run sandbox stats --reset >"$dir/calls-before.txt"
run rotatord run "${rotation[@]}" --journal-dir "$dir/journal" --report-dir "$dir/report"

step "What an independent observer saw"
run sandbox verify --replaced-since "$dir/before.json" --cluster "$KOPS_CLUSTER_NAME"

step "Calls of the cloud's API"
run sandbox stats

step "kops finds nothing to do any more, and neither does rotatord"
run kops rolling-update cluster | tee "$dir/kops.txt"
grep -q 'No rolling-update required' "$dir/kops.txt" || fail "kops still finds something to do"
run rotatord run "${rotation[@]}" --journal-dir "$dir/journal" | tee "$dir/second.txt"
grep -q 'nothing to do' "$dir/second.txt" || fail "the second run did something"

step "Done: every machine replaced, no budget violated. Reports are in ${dir#"$PWD"/}/report"
