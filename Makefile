# Freshet's tasks. `make help` lists them.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
LDFLAGS  = -s -w -X freshet/cli.Version=$(VERSION) -X freshet/cli.Commit=$(COMMIT)
# Words for the command that a target runs, such as: make bench ARGS='--help'
ARGS    ?=
# How long each fuzz target runs under fuzz-smoke.
FUZZTIME ?= 10s

.DEFAULT_GOAL := build
.PHONY: build links test race invariants lint fuzz-smoke compat chaos crash bench bench-scale compare compare-cluster pgo sim sim-mutants run cluster help

build: ## Build bin/freshet and the links named after Kafka's tools
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -o bin/freshet ./cmd/freshet
	@scripts/links.sh bin

links: ## Make the links named after Kafka's tools again
	@scripts/links.sh bin

test: ## Run the tests, which need Go alone
	$(GO) test ./... $(ARGS)

race: ## Run the tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race ./... $(ARGS)

invariants: ## Run the tests with every internal check switched on
	$(GO) test -tags invariants ./... $(ARGS)

lint: ## Check formatting, go vet and the house rules
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo 'not formatted:'; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) test ./internal/lint/...

fuzz-smoke: ## Run every fuzz target for FUZZTIME (10s)
	@scripts/fuzz-smoke.sh $(FUZZTIME)

compat: build ## Drive the built binary with real Kafka clients, installing them
	@scripts/compat.sh $(ARGS)

chaos: build ## Break a cluster of three under load, in every way known, and check every promise
	@scripts/chaos.sh $(ARGS)

crash: build ## Kill the broker under load, again and again, and look for lost records
	@scripts/crash.sh $(ARGS)

sim: build ## Simulate clusters under faults from 2,000 seeds; ARGS= for others
	@bin/freshet sim $(or $(ARGS),--seeds 1-2000)

sim-mutants: ## Check that the simulator catches every seeded bug
	@$(GO) run ./internal/sim/mutants $(ARGS)

bench: build ## Measure this machine in under two minutes; ARGS= for more
	@bin/freshet bench $(ARGS)

bench-scale: build ## Check 10,000 partitions, 10,000 connections and a cold reader
	@bin/freshet bench scale $(ARGS)

compare: build ## Compare with Apache Kafka in under ten minutes; ARGS=--quick: three
	@bin/freshet bench compare $(ARGS)

compare-cluster: build ## Compare clusters of three brokers with Apache Kafka's, failover too
	@bin/freshet bench compare --cluster 3 $(ARGS)

pgo: ## Profile the benchmark into cmd/freshet/default.pgo and measure the gain
	@GO="$(GO)" LDFLAGS="$(LDFLAGS)" scripts/pgo.sh $(ARGS)

run: build ## Start a broker on 127.0.0.1:9092 with its data in ./data
	@printf '%s\n' \
	  'A broker starts on 127.0.0.1:9092; its data are in ./data. In another terminal, type:' \
	  '  bin/kafka-topics.sh --create --topic quickstart-events --bootstrap-server localhost:9092' \
	  '  bin/kafka-console-producer.sh --topic quickstart-events --bootstrap-server localhost:9092' \
	  '  bin/kafka-console-consumer.sh --topic quickstart-events --from-beginning --bootstrap-server localhost:9092' \
	  'Ctrl-C stops the broker cleanly.' ''
	@exec bin/freshet start --override log.dirs=./data $(ARGS)

cluster: build ## Start three brokers on 127.0.0.1:9092 to 9094, their data in ./data-cluster
	@printf '%s\n' \
	  'Three brokers start on 127.0.0.1:9092, 9093 and 9094. In another terminal, type:' \
	  '  bin/freshet topic create orders -p 6' \
	  '  bin/freshet cluster status' \
	  '  bin/freshet doctor --topic orders' \
	  'Ctrl-C stops them cleanly.' ''
	@exec bin/freshet start --cluster 3 $(ARGS)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
