#!/usr/bin/env bash
# Rolls the same cluster twice, side by side: with the kops command and with
# rotatord and its kops driver, with the same number of machines at most and the
# same drain settings, and prints what each took and did. `make bench-kops` builds
# what it needs first. kops takes its time: twenty minutes for 30 nodes.
#
#   BENCH_NODES=30    nodes in two groups, beside a control plane of three
#   BENCH_ROLES=node  roles that are rolled, separated by commas
#   BENCH_PODS=300    pods of the workload
#   BENCH_BOOT=2s     how long a machine takes to join
#   BENCH_KOPS=...    flags for kops rolling-update, for instance shorter intervals
#   BENCH_ONLY=kops   or rotatord: one of the two
#   BENCH_DIR=out/bench-kops
set -euo pipefail
cd "$(dirname "$0")/.."

nodes=${BENCH_NODES:-30}
pods=${BENCH_PODS:-300}
boot=${BENCH_BOOT:-2s}
only=${BENCH_ONLY:-}
roles=${BENCH_ROLES:-node}
dir=$PWD/${BENCH_DIR:-out/bench-kops}
bin=$PWD/bin
read -r -a kops_flags <<<"${BENCH_KOPS:-}"
role_flags=()
IFS=, read -r -a each <<<"$roles"
for role in "${each[@]}"; do role_flags+=(--role "$role"); done

rm -rf "$dir"
mkdir -p "$dir"

# The sandbox ends when its stdin is closed: when this script ends in whatever
# way, kill -9 included, the pipe closes.
coproc SANDBOX { exec "$bin/sandbox" up --provider kops --dir "$dir/sandbox" --nodes "$nodes" --pods "$pods" --boot-delay "$boot" \
  --pod-start-delay 500ms --pod-stop-delay 200ms --seed 1 --exit-on-stdin-close 2>"$dir/sandbox.log"; }
pid=$SANDBOX_PID
from=${SANDBOX[0]} hold=${SANDBOX[1]} # bash unsets SANDBOX when the coprocess ends
tidy() {
  code=$?
  exec {hold}>&-
  wait "$pid" 2>/dev/null || true
  [ "$code" -eq 0 ] || echo "bench-kops: failed with exit code $code; logs are in $dir" >&2
  exit "$code"
}
trap tidy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if ! read -r -t 300 ready <&"$from" || [ "${ready%% *}" != ready ]; then
  tail -n 20 "$dir/sandbox.log" >&2
  echo "bench-kops: the sandbox did not get ready" >&2
  exit 1
fi
for assignment in ${ready#ready }; do export "${assignment?}"; done

# measure NAME COMMAND... makes every machine outdated, runs the command, and
# keeps how long it took, what the observer saw and which calls it made.
measure() {
  local name=$1 began took
  shift
  "$bin/sandbox" publish-image >/dev/null
  "$bin/sandbox" stats --reset >/dev/null
  "$bin/sandbox" verify --reset >/dev/null
  echo "== $name: $*"
  began=$(date +%s%N)
  if ! "$@" >"$dir/$name.log" 2>&1; then
    tail -n 20 "$dir/$name.log" >&2
    return 1
  fi
  took=$((($(date +%s%N) - began) / 1000000))
  printf 'time:      %d.%03d s\n' $((took / 1000)) $((took % 1000)) | tee "$dir/$name.txt"
  "$bin/sandbox" verify | grep -E '^(budgets|evictions|moves|VIOLATED)' | tee -a "$dir/$name.txt"
  "$bin/sandbox" stats | tee -a "$dir/$name.txt"
}

echo "$nodes nodes in two groups, three of control plane and a bastion; $pods pods; a machine boots in $boot"
if [ "$only" != rotatord ]; then
  measure kops "$bin/kops" rolling-update cluster --yes --instance-group-roles "$roles" "${kops_flags[@]}"
fi
if [ "$only" != kops ]; then
  # kops surges by one machine in a group of workers and rolls groups one after
  # the other: at most one machine more than the cluster has.
  measure rotatord "$bin/rotatord" run --cluster "$KOPS_CLUSTER_NAME" --driver kops --driver-path "$bin/rotatord-driver-kops" \
    "${role_flags[@]}" --max-surge 1 --journal-dir "$dir/journal" --report-dir "$dir/report"
fi
