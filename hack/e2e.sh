#!/usr/bin/env bash
# Runs the end-to-end tests in lanes, all at once: one for each pattern, with the
# tests that match it, and one with those that match none. A rotation waits most of
# its time, for boots and for pods, so several on one machine take little longer than
# one. Each lane is a process with sandboxes of its own.
#
#   hack/e2e.sh PATTERN LANE...
#
# With a PATTERN other than "." the tests that match it run alone, one after the
# other. BIN is the folder of the executables, E2E_TIMEOUT bounds one lane.
set -euo pipefail
cd "$(dirname "$0")/.."

pattern=$1
shift
timeout=${E2E_TIMEOUT:-30m}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go test -tags e2e -c -o "$work/e2e.test" ./e2e
cd e2e # where go test runs it

tests=("$work/e2e.test" -test.v -test.timeout "$timeout")

if [ "$pattern" != . ]; then
	"${tests[@]}" -test.run "$pattern"
	exit
fi

lanes=()
for lane in "$@"; do
	"${tests[@]}" -test.run "$lane" >"$work/${#lanes[@]}.log" 2>&1 &
	lanes+=($!)
done
# An interrupt ends all lanes; sandboxes end with the lane that started them.
trap 'kill -TERM "${lanes[@]}" 2>/dev/null || true; wait "${lanes[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
failed=0
"${tests[@]}" -test.skip "$(IFS='|' && echo "$*")" || failed=1
for i in "${!lanes[@]}"; do
	wait "${lanes[i]}" || failed=1
	echo "== the next lane"
	cat "$work/$i.log"
done
exit "$failed"
