#!/usr/bin/env bash
# Runs the end-to-end tests in two lanes at once: those that match the first
# pattern, and the others. A rotation waits most of its time, for boots and for
# pods, so two on one machine take little longer than one. Each lane is a process
# with sandboxes of its own. With a second pattern other than "." the tests that
# match it run alone, one after the other.
#
#   hack/e2e.sh LANE [PATTERN]
#
# BIN is the folder of the executables, E2E_TIMEOUT bounds one lane.
set -euo pipefail
cd "$(dirname "$0")/.."

first=$1
pattern=${2:-.}
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

"${tests[@]}" -test.run "$first" >"$work/first.log" 2>&1 &
lane=$!
# An interrupt ends both lanes; sandboxes end with the lane that started them.
trap 'kill -TERM "$lane" 2>/dev/null || true; wait "$lane" 2>/dev/null || true; rm -rf "$work"' EXIT
failed=0
"${tests[@]}" -test.skip "$first" || failed=1
wait "$lane" || failed=1
echo "== the other lane"
cat "$work/first.log"
exit "$failed"
