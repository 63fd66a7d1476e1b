SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

# More arguments for `make test` and `make bench`, as in: make test ARGS='-run TestFloors -v'
ARGS ?=

# Where `make demo` puts logs, and the report about the cleared market.
DEMO_DIR ?= demo-output

# The first seed of `make soak`, how many there are (0: no end), and where the results of a failing one are kept.
SEED ?= 1
SEEDS ?= 0
SOAK_DIR ?= soak-output
# In a town, there is not much on its way at any moment.
SOAK_MARKET ?= --customers 300 --currencies 12

.PHONY: help
help: ## List the tasks.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ensure-go ## Build the programs, statically linked, into bin/.
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/ ./cmd/...

.PHONY: image
image: ## Build the container image circular-trade, with docker.
	docker build --build-arg VERSION=$$(git describe --always --dirty) --tag circular-trade .

.PHONY: test
test: ensure-go ## Run all tests with the race detector, on servers of their own; ARGS are passed on to go test.
	@if scripts/ensure race; then \
		set -x; CGO_ENABLED=1 scripts/services go test -race $(ARGS) ./...; \
	else \
		set -x; CGO_ENABLED=0 scripts/services go test $(ARGS) ./...; \
	fi
	CGO_ENABLED=0 go test -C tools/deployment $(ARGS) ./...

.PHONY: services
services: ## Run PostgreSQL and RabbitMQ for tests, and say where they are, until Ctrl-C.
	@scripts/services

.PHONY: bench
bench: ensure-go ## Measure, and print tables; ARGS are passed on to ./bench.
	scripts/services --durable go run ./bench $(ARGS)

.PHONY: lint
lint: ensure-go .bin/gofumpt .bin/golangci-lint .bin/dockerfile-lint ## Check the format, look for mistakes (gofumpt, go vet, golangci-lint, dockerfile-lint).
	@unformatted=$$(.bin/gofumpt -l .); \
	if [[ -n $$unformatted ]]; then \
		printf 'Not formatted, run "make format":\n%s\n' "$$unformatted" >&2; exit 1; \
	fi
	go vet ./...
	.bin/golangci-lint run ./...
	.bin/dockerfile-lint Dockerfile
	go vet -C tools/deployment ./...
	cd tools/deployment && ../../.bin/golangci-lint run ./...

.PHONY: format
format: ensure-go .bin/golangci-lint ## Format all Go files.
	.bin/golangci-lint fmt ./...

.PHONY: generate
generate: ensure-go ## Generate code anew.
	go generate ./...

.PHONY: check-generated
check-generated: ensure-go ## Check that the generated code is up to date.
	@scripts/unchanged-by $(MAKE) --no-print-directory generate

.PHONY: check
check: check-generated lint test ## Do all that continuous integration does.

.PHONY: tools
tools: .bin/benchstat .bin/dockerfile-lint .bin/gofumpt .bin/golangci-lint .bin/sqlc ## Build the pinned tools into .bin/.

.PHONY: demo
demo: ensure-go ## Watch a trading turn in a simulated town, on servers of its own; ARGS are passed on to trade demo.
	@CGO_ENABLED=0 go build -o bin/trade ./cmd/trade
	@$(if $(findstring --faults,$(ARGS)),,scripts/services) bin/trade demo --dir $(DEMO_DIR) $(ARGS)

.PHONY: soak
soak: ensure-go ## Kill processes and servers at random in a storm, SEEDS times from SEED on, or until something is wrong.
	@mkdir -p $(SOAK_DIR) && go build -o $(SOAK_DIR)/trade-$(SEED) ./cmd/trade
	@scripts/soak $(SOAK_DIR)/trade-$(SEED) $(SOAK_DIR) $(SEED) $(SEEDS) $(or $(ARGS),$(SOAK_MARKET))

.PHONY: clean
clean: ## Remove all that these tasks have made.
	rm -rf bin .bin demo-output soak-output

.PHONY: ensure-go
ensure-go:
	@scripts/ensure go

.bin/dockerfile-lint: tools/dockerfile-lint/main.go

# A module a tool pins the tool with all it is made of. None of them needs cgo, so none needs a C compiler.
.bin/%: tools/%/go.mod tools/%/go.sum | ensure-go
	@echo 'Building $* (the first time, this may take minutes)' >&2
	@CGO_ENABLED=0 go build -C tools/$* -trimpath -ldflags='-s -w' -o $(CURDIR)/$@ tool
	@touch $@
