# The verbs of Watermill's other Pub/Subs. `make help` lists them.

# make up PROFILE=cluster: the three nodes as well.
COMPOSE := docker compose $(if $(PROFILE),--profile $(PROFILE))

# The server of `make test_server`; the default is the single node of docker-compose.yml.
WATERMILL_TEST_EVENTSTORE_URL ?= tcp://admin:changeit@127.0.0.1:1113

# For each fuzz target: a number of executions (20000x) or a duration (10m).
FUZZTIME ?= 20000x

# The modules besides the root one.
MODULES := benchmarks cmd/esctl dashboards docs esotel esprom essql estest/browsertest $(patsubst %/go.mod,%,$(wildcard _examples/*/go.mod))

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z_]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: up down wait
up: ## start EventStore in a container (PROFILE=cluster: three nodes as well)
	$(COMPOSE) up --detach

down: ## stop every container and forget its data
	docker compose --profile cluster --profile metrics down --volumes --remove-orphans

wait: ## wait until the containers are healthy, starting them if need be
	$(COMPOSE) up --detach --wait --wait-timeout 120

.PHONY: test test_v test_short test_race test_stress test_reconnect test_soak test_cluster test_chaos test_browser test_sql test_esctl test_metrics test_traces test_docs test_server
test: ## run the tests on the embedded server
	go test ./...

test_v: ## the same, with the name of every test
	go test -v ./...

test_short: ## the same with fewer messages
	go test -short ./...

test_race: ## the same as test_short under the race detector
	go test -short -race -timeout=10m ./...

test_stress: ## Watermill's stress suite, without and with the race detector
	go test -tags=stress -timeout=30m -run='(?i)stress' .
	go test -tags=stress -timeout=60m -race -run='(?i)stress' .

test_reconnect: ## Watermill's reconnect suite
	go test -tags=reconnect -timeout=15m -run='(?i)reconnect' .

test_soak: ## random valid requests to the embedded server, held against a model (SOAK=30m: half an hour)
	ESTEST_SOAK='$(SOAK)' go test -tags=soak -timeout=2h -count=1 -run=TestSoak -v ./estest

test_browser: ## the embedded server's page in Chromium; skipped if there is none on the PATH
	go -C estest/browsertest test -count=1 -v ./...

test_sql: ## checkpoints in SQLite, and on PostgreSQL and MariaDB servers that are started for it
	bash .ci/databases go -C essql test -count=1 ./...

test_esctl: ## the command esctl, built and run on embedded servers of all versions
	go -C cmd/esctl test -count=1 ./...

test_traces: ## OpenTelemetry traces of publishers, subscribers and clients
	go -C esotel test -count=1 ./...

test_metrics: ## Prometheus metrics, the dashboard and the alerts, on a Prometheus that is started for it
	go -C esprom test -count=1 ./...
	bash .ci/prometheus go -C dashboards test -count=1 ./...

test_docs: ## the code, the commands and the links of the documents
	go -C docs test -count=1 ./...

test_cluster: ## kill and cut off the leader of a cluster a hundred times
	go test -tags=soak -timeout=1h -v -run=TestClusterSoak .

test_chaos: ## 10 000 faults under load, on single servers and clusters of all versions (SEED=7: another schedule)
	go test -tags=chaos -timeout=2h -count=1 -v -run=TestChaos ./internal/chaos $(if $(SEED),-chaos.seed=$(SEED))

test_server: ## run the tests on the server at WATERMILL_TEST_EVENTSTORE_URL
	WATERMILL_TEST_EVENTSTORE_URL='$(WATERMILL_TEST_EVENTSTORE_URL)' go test -count=1 . ./esclient/...

.PHONY: bench speed fuzz
ALL_CORES := ^(append, (1|256) in flight|volatile|persistent with acks, in-flight 200|publish, 64 goroutines|router(, defaults)?)$$
bench: ## run the benchmarks
	go -C benchmarks test -run='^$$' -bench=. -benchmem ./...

speed: ## measure everything for docs/speed.md, in a quarter of an hour: benchmarks/results and the tables of that page
	go -C benchmarks run . -rounds 3
	go -C benchmarks run . -rounds 2 -growth -out results/growth
	go -C benchmarks run . -rounds 3 -cores 2 -out results/all-cores -run '$(ALL_CORES)'
	go -C benchmarks run . -publish ../docs/speed.md

fuzz: ## run every fuzz target (FUZZTIME=10m: ten minutes each)
	bash .ci/fuzz $(FUZZTIME)

.PHONY: lint ci
lint: ## run golangci-lint on every module
	bash .ci/run lint

ci: ## everything that must hold before a merge
	bash .ci/run

.PHONY: generate build fmt
generate: ## generate code again (needs protoc and protoc-gen-go, see esproto/doc.go)
	go generate ./...

build: ## compile every package of every module
	set -e; for dir in . $(MODULES); do (cd $$dir && go build -o /dev/null ./...); done

fmt: ## format every file
	gofmt -s -w .
