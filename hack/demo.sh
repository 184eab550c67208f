#!/usr/bin/env bash
# Rotates a whole cluster on this machine and checks the result: a real
# Kubernetes control plane, a simulated AWS, the real rotatord and its driver.
# `make demo` builds what this needs first. Everything it starts listens on
# loopback only, and ends with it.
#
#   DEMO_NODES=12 DEMO_DIR=out/demo DEMO_CONFIG=examples/rotation.yaml make demo
set -euo pipefail
cd "$(dirname "$0")/.."

nodes=${DEMO_NODES:-12}
config=${DEMO_CONFIG:-examples/rotation.yaml}
dir=$PWD/${DEMO_DIR:-out/demo}
bin=$PWD/bin

step() { printf '\n\033[1m==> %s\033[0m\n' "$*"; }
[ -t 1 ] || step() { printf '\n==> %s\n' "$*"; }
run() {
  echo "\$ $*"
  "$bin/$1" "${@:2}"
}
fail() {
  echo "demo: $*" >&2
  exit 1
}

rm -rf "$dir"
mkdir -p "$dir"

# The sandbox ends when its stdin is closed: when this script ends in whatever
# way, kill -9 included, the pipe closes.
step "A cluster of $nodes nodes, with workloads under budgets"
coproc SANDBOX { exec "$bin/sandbox" up --dir "$dir/sandbox" --nodes "$nodes" --exit-on-stdin-close 2>"$dir/sandbox.log"; }
pid=$SANDBOX_PID
from=${SANDBOX[0]} hold=${SANDBOX[1]} # bash unsets SANDBOX when the coprocess ends
tidy() {
  code=$?
  exec {hold}>&-
  kill "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  [ "$code" -eq 0 ] || echo "demo: failed with exit code $code; logs are in $dir" >&2
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

step "Nothing is outdated yet"
run rotatord plan --config "$config"

step "A new machine image comes out"
run sandbox publish-image
run rotatord plan --config "$config"
"$bin/sandbox" verify --output json >"$dir/before.json"

step "The rotation"
run sandbox stats --reset >"$dir/calls-before.txt"
run rotatord run --driver eks --config "$config" --journal-dir "$dir/journal" --report-dir "$dir/report"

step "What an independent observer saw"
run sandbox verify --replaced-since "$dir/before.json"

step "Calls of the cloud's API"
run sandbox stats

step "A second run finds nothing to do"
run rotatord run --driver eks --config "$config" --journal-dir "$dir/journal" | tee "$dir/second.txt"
grep -q 'nothing to do' "$dir/second.txt" || fail "the second run did something"

step "Done: every node replaced, no budget violated. Reports are in ${dir#"$PWD"/}/report"
