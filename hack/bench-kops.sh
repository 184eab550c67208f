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
. hack/lib.sh

nodes=${BENCH_NODES:-30}
pods=${BENCH_PODS:-300}
boot=${BENCH_BOOT:-2s}
only=${BENCH_ONLY:-}
roles=${BENCH_ROLES:-node}
begin bench-kops "${BENCH_DIR:-out/bench-kops}"
read -r -a kops_flags <<<"${BENCH_KOPS:-}"
role_flags=()
IFS=, read -r -a each <<<"$roles"
for role in "${each[@]}"; do role_flags+=(--role "$role"); done

sandbox_up --provider kops --nodes "$nodes" --pods "$pods" --boot-delay "$boot" --pod-start-delay 500ms --pod-stop-delay 200ms --seed 1

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
