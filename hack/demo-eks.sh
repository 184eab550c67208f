#!/usr/bin/env bash
# From "a new image is published" to "every node runs it", on this machine: a
# cluster of EKS with two managed node groups, which EKS itself rolls, and one
# group of workers, whose launch template gets the new image. `make demo-eks`
# builds what this needs first. Everything it starts listens on loopback only,
# and ends with it.
#
#   DEMO_NODES=9 DEMO_DIR=out/demo-eks make demo-eks
set -euo pipefail
cd "$(dirname "$0")/.."

nodes=${DEMO_NODES:-9}
dir=$PWD/${DEMO_DIR:-out/demo-eks}
bin=$PWD/bin

step() { printf '\n\033[1m==> %s\033[0m\n' "$*"; }
[ -t 1 ] || step() { printf '\n==> %s\n' "$*"; }
run() {
  echo "\$ $*"
  "$bin/$1" "${@:2}"
}
fail() {
  echo "demo-eks: $*" >&2
  exit 1
}

rm -rf "$dir"
mkdir -p "$dir"

# The sandbox ends when its stdin is closed: when this script ends in whatever
# way, kill -9 included, the pipe closes. EKS works 60 times as fast as at AWS:
# its drain of 15 minutes takes 15 s at most.
step "A cluster of EKS: $nodes nodes with workloads under budgets, in two managed node groups and one of workers"
coproc SANDBOX { exec "$bin/sandbox" up --provider eks-managed --dir "$dir/sandbox" --nodes "$nodes" --eks-speedup 60 --exit-on-stdin-close 2>"$dir/sandbox.log"; }
pid=$SANDBOX_PID
from=${SANDBOX[0]} hold=${SANDBOX[1]} # bash unsets SANDBOX when the coprocess ends
tidy() {
  code=$?
  exec {hold}>&-
  kill "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  [ "$code" -eq 0 ] || echo "demo-eks: failed with exit code $code; logs are in $dir" >&2
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
"$bin/sandbox" verify --output json >"$dir/before.json"

step "The rotation: make it the groups' release, then roll them to it"
run sandbox stats --reset >"$dir/calls-before.txt"
run rotatord run "${rotation[@]}" --release latest --groups-at-once 2 --journal-dir "$dir/journal" --report-dir "$dir/report"

step "What an independent observer saw"
run sandbox verify --replaced-since "$dir/before.json"

step "Calls of the cloud's API"
run sandbox stats

step "Every group has the newest release again, and a second run finds nothing to do"
run rotatord release check "${rotation[@]}"
run rotatord run "${rotation[@]}" --release latest --journal-dir "$dir/journal" | tee "$dir/second.txt"
grep -q 'nothing to do' "$dir/second.txt" || fail "the second run did something"

step "Done: every node runs the new release, no budget violated. Reports are in ${dir#"$PWD"/}/report"
