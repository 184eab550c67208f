#!/usr/bin/env bash
# Builds the sandbox's executable: build.sh OUT
#
# The first build compiles Kubernetes, which takes minutes; Go's build cache
# serves the later ones. When nothing has changed since OUT was built nothing is
# done at all: a stamp beside OUT holds a hash of the sandbox's sources, go.mod,
# go.sum, this script and the version of Go.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: $0 OUT" >&2; exit 2; }
case $1 in /*) out=$1 ;; *) out=$PWD/$1 ;; esac
cd "$(dirname "$0")"

# What the build cache is keyed by: another value compiles Kubernetes again.
export CGO_ENABLED=0 GOWORK=off GOFLAGS="-trimpath -buildvcs=false"
go=${GO:-go}

stamp=$(dirname "$out")/.$(basename "$out").stamp
hash=$({
  "$go" env GOVERSION GOOS GOARCH
  find . -type f \( -name '*.go' ! -name '*_test.go' -o -name go.mod -o -name go.sum -o -name build.sh \) -print0 |
    LC_ALL=C sort -z | xargs -0 sha256sum
} | sha256sum | cut -d ' ' -f 1)
if [ -x "$out" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$hash" ]; then
  exit 0
fi

# The components refuse to run without a version of their own.
kubernetes=$(sed -n 's#^\tk8s.io/kubernetes \(v[0-9.]*\)$#\1#p' go.mod)
minor=$(cut -d . -f 2 <<<"$kubernetes")
version=k8s.io/component-base/version
ldflags="-s -w -X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=$minor -X $version.gitTreeState=clean"

echo "building the sandbox: the control plane (Kubernetes $kubernetes) and the simulated AWS" >&2
began=$SECONDS
if ! stale=$("$go" list -f '{{if .Stale}}yes{{end}}' k8s.io/kubernetes/pkg/apis/core 2>/dev/null) || [ -n "$stale" ]; then
  echo "  the first time takes about 7 minutes on 2 cores; later builds take seconds" >&2
  # Its own sleep holds none of our pipes, so that nobody waits for it.
  while sleep 60 </dev/null >/dev/null 2>&1; do echo "  still compiling after $((SECONDS - began)) s" >&2; done &
  trap 'kill '$!' 2>/dev/null || true' EXIT
fi
mkdir -p "$(dirname "$out")"
# Moved into place when whole: a sandbox that runs keeps its own executable.
"$go" build -ldflags "$ldflags" -o "$out.new" ./cmd/sandbox
mv "$out.new" "$out"
echo "$hash" >"$stamp"
echo "  built ${out##*/} in $((SECONDS - began)) s" >&2
