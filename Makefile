# Everything a person or CI does with this repository. `make help` lists it.
#
# Go and make are all that a machine needs: tools and the Kubernetes control
# plane are built from Go modules.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# --- Build flags: here and nowhere else -------------------------------------
# One set for builds, tests and linters of every module, because the build
# cache is keyed by them: another -trimpath or CGO_ENABLED compiles Kubernetes
# again, which takes minutes.
export CGO_ENABLED := 0
export GOWORK := off
export GOFLAGS := -trimpath -buildvcs=false
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)

GO ?= go
BIN := $(CURDIR)/bin
GOLANGCI := $(GO) tool -modfile=$(CURDIR)/tools/go.mod golangci-lint

# How long a test binary may take before it is stopped with a stack trace.
UNIT_TIMEOUT ?= 10m
E2E_TIMEOUT ?= 30m
# A pattern of tests to run: make e2e RUN=TestRolling
RUN ?= .

# The packages of the sandbox that import Kubernetes itself are not linted: the
# linters would analyse all of it, for ten minutes and more. go vet sees them.
SANDBOX_HEAVY := /(cmd/sandbox|controlplane|stack)$$

# Modules of third parties: each its own go.mod, so ./... does not reach them.
PLUGINS := $(patsubst %/go.mod,%,$(wildcard plugins/*/go.mod))

.PHONY: help build kops-command bench-kops demo demo-eks demo-kops test unit plugins lint sandbox sandbox-test e2e chaos sim bench race generate clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/rotatord and the drivers
	$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/rotatord ./cmd/rotatord
	$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/rotatord-driver-eks ./drivers/eks/rotatord-driver-eks
	@echo "== the kops driver (minutes the first time)"
	cd drivers/kops && $(GO) build -ldflags '-s -w' -o $(BIN)/rotatord-driver-kops ./rotatord-driver-kops

sandbox: ## build bin/sandbox: a Kubernetes control plane and a simulated AWS (minutes the first time)
	sandbox/build.sh $(BIN)/sandbox

kops-command: ## build bin/kops: the kops command itself, for the tests that compare with it (minutes the first time)
	cd drivers/kops && $(GO) build -ldflags '-s -w' -o $(BIN)/kops k8s.io/kops/cmd/kops

demo: build sandbox ## rotate a whole cluster in the sandbox and check the result
	hack/demo.sh

demo-eks: build sandbox ## from a new release to every node of an EKS cluster, managed node groups included
	hack/demo-eks.sh

demo-kops: build sandbox kops-command ## rotate a whole cluster of kops in the sandbox, and let kops itself judge
	hack/demo-kops.sh

test: unit plugins lint sandbox-test e2e ## everything that CI runs

unit: ## unit tests and driver tests of the root module
	$(GO) vet ./...
	$(GO) test -timeout $(UNIT_TIMEOUT) -run '$(RUN)' ./...
	cd drivers/kops && $(GO) vet ./... && $(GO) test -timeout $(UNIT_TIMEOUT) -run '$(RUN)' ./...

plugins: ## vet and test the example drivers of third parties
	@for d in $(PLUGINS); do echo "== $$d"; (cd $$d && $(GO) vet ./... && $(GO) test -timeout $(UNIT_TIMEOUT) ./...); done

lint: ## golangci-lint with the layer rules, gofmt, and shell syntax
	@echo "== golangci-lint (compiled from tools/go.mod; minutes the first time)"
	$(GOLANGCI) run ./...
	$(GOLANGCI) run --build-tags e2e ./e2e/...
	cd drivers/kops && $(GOLANGCI) run --config ../../.golangci.yml ./...
	cd sandbox && $(GOLANGCI) run --config ../.golangci.yml $$($(GO) list -f '{{.Dir}}' ./... | grep -vE '$(SANDBOX_HEAVY)')
	@for f in hack/*.sh .ci/run sandbox/*.sh; do bash -n "$$f"; done

sandbox-test: sandbox ## tests of the sandbox: AWS wire format, control plane, kubelets
	cd sandbox && $(GO) vet ./... && $(GO) test -timeout $(UNIT_TIMEOUT) -run '$(RUN)' ./...

# What kills, pauses and cuts off rotations.
CHAOS_TESTS := ^Test(KillTable|KilledAtEachEvent|CloudFaults|APIServerRestarts|NetworkCut|Paused|TwoAtOnce|ReplacementDies)

# The lanes in which the end-to-end tests run, beside one with all others: a third of
# their time each, by what a run printed. Tests that share a sandbox are in one lane.
E2E_LANES := '$(CHAOS_TESTS)|^Test(DeadNode|MovesWithCare|ManagedWays)$$' \
	'^Test(Pods|Skip|BadPods|DrainStatus|ClockSkew|DeadlineOverRuns)$$|^TestKops([^S]|Stores)|^TestRotatordFinishesWhatKopsBegan'

e2e: build sandbox kops-command ## end-to-end rotations with real processes in the sandbox
	BIN=$(BIN) E2E_TIMEOUT=$(E2E_TIMEOUT) hack/e2e.sh '$(RUN)' $(E2E_LANES)

chaos: build sandbox ## kill, pause and cut off rotations at many more points than make e2e does (half an hour)
	CHAOS=all BIN=$(BIN) $(GO) test -tags e2e -count=1 -v -timeout 90m -run '$(CHAOS_TESTS)' ./e2e/...

bench: build sandbox ## measure plan time and memory, driver start, cloud calls for each node
	cd plugins/example && $(GO) build -ldflags '-s -w' -o $(BIN)/rotatord-driver-example ./rotatord-driver-example
	$(GO) run ./core/sim/shapes
	$(GO) test -run '^$$' -bench . -benchtime 10x ./core/host/
	$(GO) test -run '^$$' -bench Resume1000 -benchtime 5x ./core/engine/
	BIN=$(BIN) $(GO) test -tags e2e -run '^$$' -bench . -benchtime 3s -timeout $(E2E_TIMEOUT) ./e2e/

bench-kops: build sandbox kops-command ## roll the same cluster with kops and with rotatord, and compare (half an hour)
	hack/bench-kops.sh

# How long `make sim` runs; SIM_ARGS goes to core/sim/simrun: SIM_ARGS='-seed 17'.
SIM_TIME ?= 60s
SIM_ARGS ?=

sim: ## simulate seeded rotations with faults for SIM_TIME (60s), and count what breaks
	$(GO) run ./core/sim/simrun $(if $(SIM_ARGS),$(SIM_ARGS),-time $(SIM_TIME))

race: ## unit tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -timeout $(UNIT_TIMEOUT) ./core/... ./drivers/...

generate: ## make generated code again
	$(GO) generate ./...

clean: ## remove what make built
	rm -rf $(BIN) out
