#!/bin/sh
# Generates driver.pb.go and driver_grpc.pb.go from driver.proto. Compiler and
# generators are Go modules pinned in tools/go.mod. With --check nothing is
# written: it fails when the checked-in code is not what driver.proto gives.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tools=$here/../../../tools
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
out=$here
if [ "${1:-}" = --check ]; then out=$bin/out && mkdir "$out"; fi

export GOWORK=off GOFLAGS="${GOFLAGS:-} -mod=readonly" CGO_ENABLED=0
go -C "$tools" build -trimpath -o "$bin/" ./protogen \
	google.golang.org/protobuf/cmd/protoc-gen-go \
	google.golang.org/grpc/cmd/protoc-gen-go-grpc
"$bin/protogen" -I "$here" -o "$out" \
	-plugin "$bin/protoc-gen-go" -plugin "$bin/protoc-gen-go-grpc" driver.proto

if [ "$out" != "$here" ]; then
	for f in driver.pb.go driver_grpc.pb.go; do
		if ! cmp -s "$out/$f" "$here/$f"; then
			echo "drivers/sdk/proto/$f is stale: run drivers/sdk/proto/generate.sh" >&2
			exit 1
		fi
	done
fi
