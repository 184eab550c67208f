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

if [ -n "$("$go" list -f '{{if .Stale}}stale{{end}}' k8s.io/kubernetes/pkg/apis/core 2>/dev/null)" ]; then
  echo "building the control plane (Kubernetes $kubernetes): the first time takes about 7 minutes on 2 cores" >&2
  echo "  and up to 2 GB of downloads and build cache; later builds take seconds" >&2
else
  echo "building the sandbox" >&2
fi
mkdir -p "$(dirname "$out")"
began=$SECONDS
"$go" build -ldflags "$ldflags" -o "$out" ./cmd/sandbox
echo "$hash" >"$stamp"
echo "built ${out##*/} in $((SECONDS - began)) s" >&2
