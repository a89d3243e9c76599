# `make` lists the targets.

GO            ?= go
GOLANGCI      := bin/golangci-lint-v2.15.0
TEST_TIMEOUT  ?= 15m
# Packages tested at a time: most of their time they wait for what they have started.
TEST_PACKAGES ?= 3
PLATFORMS     ?= linux/amd64 linux/arm64 darwin/arm64 darwin/amd64 windows/amd64
COUNT         ?= 5
FUZZTIME      ?= 20s
SEED          ?= 0
SEEDS         ?= 1
FOR           ?= 0s
SCENARIO      ?=
SCHEDULES     ?= 0
WORLDS        ?= 3
REPORT        ?=
KEEP          ?=
RACE          ?=
LOAD          ?= all
ROUNDS        ?= 1
FLAGS         ?= -warmup 10s -measure 30s
RACE_PACKAGES ?= ./store/... ./engine/... ./beat/... ./worker/... ./client/...

.DEFAULT_GOAL := help
.PHONY: help deps run build test race faults faults-proof bench benchmarks fuzz lint fmt cross dist compose-test clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## see a workflow run: the health check example every minute, no Redis needed (Ctrl+C stops)
	@echo "building pyworkflow (the first time takes a minute or two)"
	@$(GO) build -o bin/pyworkflow ./cmd/pyworkflow
	@bin/pyworkflow --module ./examples/healthcheck scheduler run

build: ## build the command line into bin/pyworkflow
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/pyworkflow ./cmd/pyworkflow

deps: ## install redis-server, a C compiler, Chromium and systemd where they are missing (apt-get or brew)
	@tools/deps.sh

# Tested without the race detector, which takes eight minutes of processor more for them: what mostly starts processes or a browser, and what exercises SQLite, which
# is 4 to 10 times slower with it, alone. The concurrent code under all of it is tested with it in its own packages, and sqlitestore by `make race`.
# workflowtest, too: simulated months in one process now and then crash the race detector itself ("ThreadSanitizer: CHECK failed: tsan_rtl.cpp:346").
RACELESS := /(cmd|examples)/|/cli(/|$$)|/web/(browsertest|dashboard)$$|/store/sqlitestore$$|/test/(faults|upgrade)(/lab|/program)?$$|/test/scale$$|/workflowtest$$

# Those that wait longest begin first. What goes without the race detector is compiled as CI's vet and lint, the scripts and the
# benchmark are: once for all of them. Vetting is lint's; here it would cost a minute and a half of processor for a part of it.
test: deps ## run all tests, most with the race detector, each on a redis-server of its own
	CGO_ENABLED=1 GORACE=atexit_sleep_ms=0 $(GO) test -vet=off -race -p $(TEST_PACKAGES) -timeout $(TEST_TIMEOUT) \
		./store/redisstore ./test/linear ./worker/... $$($(GO) list ./... | grep -Ev '$(RACELESS)')
	CGO_ENABLED=0 $(GO) test -vet=off -trimpath -p $(TEST_PACKAGES) -timeout $(TEST_TIMEOUT) \
		./test/faults ./cli ./web/browsertest $$($(GO) list ./... | grep -E '$(RACELESS)')
	cd test/deploy && export CGO_ENABLED=0 && $(GO) vet -trimpath ./... && $(GO) test -vet=off -trimpath ./...
	cd bench && export CGO_ENABLED=0 && $(GO) vet -trimpath ./... && $(GO) test -vet=off -trimpath ./...

race: deps ## look for rare races: the concurrent packages COUNT (5) times over
	CGO_ENABLED=1 $(GO) test -race -timeout 60m -count $(COUNT) $(RACE_PACKAGES)

# SEED: the first one, 0 makes one up; SEEDS: how many; FOR: how long schedules tick, 0s is a minute; SCENARIO: a regular expression; RACE=1: the program with the
# race detector; REPORT: a file for the table; KEEP: a folder for logs; WORLDS: scenarios at a time; SCHEDULES: of each.
FAULTS = $(GO) test -count 1 -timeout 8h -v ./test/faults -args -full -seed $(SEED) -worlds $(WORLDS) -schedules $(SCHEDULES) \
	$(if $(REPORT),-report $(abspath $(REPORT))) $(if $(KEEP),-keep $(abspath $(KEEP))) $(if $(RACE),-race-program)

faults: deps ## break everything that can break, and see the promises kept: SEED, SEEDS, FOR, SCENARIO, RACE
	$(FAULTS) -test.run TestFaults -seeds $(SEEDS) -for $(FOR) -scenario '$(SCENARIO)'

faults-proof: deps ## take each defence out of the program, and see the fault suite fail
	$(FAULTS) -test.run TestDefences -prove -for 15s -defence '$(SCENARIO)'

# LOAD: L0, L1, L2, L2s, L3, H, M, cluster, local, net, scale, guard or all, or several with commas; FLAGS: more of the program's (cd bench && go run . -h).
bench: deps ## measure beside asynq and gocron, each with processes and a redis-server of its own: LOAD, ROUNDS, FLAGS
	cd bench && CGO_ENABLED=0 $(GO) run -trimpath . -load $(LOAD) -rounds $(ROUNDS) $(FLAGS)

benchmarks: deps ## run the Go benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

fuzz: ## run each fuzz target for FUZZTIME (20s)
	@set -e; for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "fuzz $$pkg $$f $(FUZZTIME)"; \
			$(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

lint: $(GOLANGCI) ## run golangci-lint
	CGO_ENABLED=0 $(GOLANGCI) run ./...

# Built from source into bin/: its hundreds of modules stay out of go.mod.
$(GOLANGCI):
	@echo "building golangci-lint (the first time takes about two minutes)"
	GOBIN="$(CURDIR)/bin" $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI:bin/golangci-lint-%=%)
	@mv bin/golangci-lint $@

fmt: ## format the code
	gofmt -w $$(git ls-files -co --exclude-standard '*.go')

# Whether it compiles needs no optimizing, which is half of the time; dist is what one hands out. Linux is vetted and tested by CI as it is, and no file of ours
# is for one processor only.
QUICK := -gcflags='all=-N -l'
CROSS := darwin/arm64 windows/amd64
cross: ## check that everything, tests too, compiles for macOS and Windows
	@set -e; export CGO_ENABLED=0; for p in $(CROSS); do \
		export GOOS=$${p%/*} GOARCH=$${p#*/}; \
		echo "vet and build for $$p"; \
		$(GO) vet $(QUICK) ./...; \
		$(GO) build $(QUICK) -o /dev/null ./cmd/pyworkflow; \
	done

dist: ## build the command line for Linux, macOS and Windows into dist/
	@set -e; export CGO_ENABLED=0; for p in $(PLATFORMS); do \
		export GOOS=$${p%/*} GOARCH=$${p#*/}; \
		out=dist/pyworkflow-$$GOOS-$$GOARCH; [ $$GOOS = windows ] && out=$$out.exe; \
		echo "$$out"; \
		$(GO) build -trimpath -ldflags '-s -w' -o $$out ./cmd/pyworkflow; \
	done

compose-test: ## bring docker-compose.yml up for real, kill a worker and the beat, see runs complete
	$(GO) test -tags compose -count 1 -timeout 20m -v ./test/compose

clean: ## remove what was built
	rm -rf bin dist
