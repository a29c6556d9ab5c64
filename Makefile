# What the targets need beyond Rust, Go, Node.js and Python they install into .tools, in the versions that are pinned here.

BUF_VERSION := 1.75.0
MACHETE_VERSION := 0.9.2
DENY_VERSION := 0.20.2
GRPCURL_VERSION := 1.9.4
ACTIONLINT_VERSION := 1.7.12
COSIGN_VERSION := 3.1.3

BUF := .tools/buf-$(BUF_VERSION)/node_modules/.bin/buf
MACHETE := .tools/cargo-machete-$(MACHETE_VERSION)/bin/cargo-machete
DENY := .tools/cargo-deny-$(DENY_VERSION)/bin/cargo-deny
GRPCURL := .tools/grpcurl-$(GRPCURL_VERSION)/grpcurl

GO_CLIENT := examples/go
JAVA_CLIENT := examples/java
ACTIONLINT := .tools/actionlint-$(ACTIONLINT_VERSION)/actionlint
# The chart's checks pin it.
HELM_VERSION := $(shell sed -n 's/^HELM_VERSION := //p' tests/chart/Makefile 2>/dev/null)
HELM := .tools/helm-$(HELM_VERSION)/helm
COSIGN := .tools/cosign-$(COSIGN_VERSION)/cosign

NPM := npm --no-audit --no-fund --ignore-scripts
# Unoptimised, for they build in half the time and work as well.
CARGO_INSTALL := CARGO_PROFILE_DEV_DEBUG=0 cargo install --locked --debug --quiet
CONFORMANCE := tests/conformance
TYPESCRIPT := tests/e2e/servers/typescript
PYTHON := tests/e2e/servers/python
LITELLM := tests/e2e/servers/litellm
PROTO := $(wildcard proto/runwright/v1/*.proto)
PYTHON_CLIENT := examples/python
TYPESCRIPT_CLIENT := examples/typescript
CLIENTS := .tools/clients

.DEFAULT_GOAL := help
.PHONY: help demo test e2e clients clients-python clients-typescript clients-go clients-java conformance chart bench
.PHONY: docs contract workflows release-contract check-release release-notes publish-image publish-chart

help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/make \1: \2/p' $(MAKEFILE_LIST)

demo: ## Show an MCP server, the service and what a backend would do; SERVE=1 leaves it serving
	@cargo build --locked --example demo
	@cargo run --locked --quiet --example demo

test: $(MACHETE) $(DENY) ## Check all that needs no other servers: format, lints, documentation, tests, contract, dependencies, the demo
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	cargo clippy --test e2e --test conformance --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked
	cargo test --locked
	$(MAKE) contract
	$(MAKE) workflows
	$(MACHETE)
	$(DENY) --locked check bans licenses sources
	$(MAKE) demo

e2e: .tools/npm/installed .tools/python/installed .tools/litellm/installed $(GRPCURL) clients ## Run the service against real MCP servers, LiteLLM, grpcurl and four languages' clients, MCP's conformance suite, and the Helm chart's checks
	# The clients and docs/grpcurl.md call it.
	cargo build --locked --example demo
	cargo test --locked --test e2e
	$(MAKE) conformance
	$(MAKE) chart

clients: clients-python clients-typescript clients-go clients-java ## Build and check the clients in examples

clients-python: $(CLIENTS)/python/installed ## Build the Python client, and check its format, lints, types and tests
	cd $(PYTHON_CLIENT) && $(CURDIR)/$(<D)/bin/ruff check --quiet && $(CURDIR)/$(<D)/bin/ruff format --quiet --check
	cd $(PYTHON_CLIENT) && $(CURDIR)/$(<D)/bin/mypy && $(CURDIR)/$(<D)/bin/pytest --quiet

clients-typescript: $(CLIENTS)/typescript/built ## Build the TypeScript client, and check its format, lints, types and tests
	npm --prefix $(TYPESCRIPT_CLIENT) run check
	node --test --test-reporter=dot $(<D)/dist/client/retry.test.js

conformance: .tools/conformance/installed ## Run MCP's official conformance suite against the service, and write docs/conformance.md
	cargo test --locked --test conformance

docs: ## Write docs/configuration.md, which is made from src/config
	RUNWRIGHT_WRITE_DOCS=1 cargo test --locked --test integration configuration::

contract: $(BUF) ## Check proto/, and hold it against the contract of the last release
	$(BUF) lint
	$(BUF) breaking --against proto-released

workflows: $(ACTIONLINT) ## Check .github/workflows
	# Without the tools that it would use where they happen to be: it finds the same everywhere.
	$(ACTIONLINT) -shellcheck= -pyflakes=
chart: ## Check the Helm chart; ONLY="lint unit" checks a part, WRITE=1 writes its README and its copies of docs
	$(MAKE) --no-print-directory -f tests/chart/Makefile $(if $(WRITE),write,test)

bench: ## Measure what a run costs, held against the three requests that it makes
	cargo bench --bench runs --locked

clients-go: .tools/clients/go/example ## Build the client in Go, and check its format, lints and tests
	@cd $(GO_CLIENT) && unformatted=$$(gofmt -l .) && test -z "$$unformatted" || { echo "gofmt -w $$unformatted"; exit 1; }
	cd $(GO_CLIENT) && go vet ./... && go tool staticcheck ./... && go test ./...

clients-java: $(JAVA_CLIENT)/target/runwright-example.jar ## Build the client in Java, with its lints and tests, and check its format
	cd $(JAVA_CLIENT) && mvn -q -B spotless:check

.tools/clients/go/example: $(BUF) $(wildcard proto/runwright/v1/*.proto) $(shell find $(GO_CLIENT) -name gen -prune -o -type f -print)
	cd $(GO_CLIENT) && $(CURDIR)/$(BUF) generate
	cd $(GO_CLIENT) && go build -buildvcs=false -o $(CURDIR)/$@ ./cmd/example

# With its tests and lints, which take no time beside the rest.
$(JAVA_CLIENT)/target/runwright-example.jar: $(wildcard proto/runwright/v1/*.proto) $(JAVA_CLIENT)/pom.xml $(shell find $(JAVA_CLIENT)/src -type f)
	cd $(JAVA_CLIENT) && mvn -q -B package
	touch $@
# Releases: what .github/workflows/release.yml calls, one target a step. VERSION is as in Cargo.toml; IMAGE and CHARTS are
# where the image and the chart go, such as REGISTRY/OWNER/runwright. Who pushes has logged in with docker.

check-release: ## Check that what is here is the release of VERSION
	.ci/check-release $(VERSION)

release-contract: ## Take proto/ for the contract of the last release, when a version is made
	rm -rf proto-released/runwright
	cp -R proto/runwright proto-released/

release-notes: ## Show what the changelog tells of VERSION
	@.ci/release-notes $(VERSION)

publish-image: $(COSIGN) sbom ## Build the image for all platforms with buildx, push it to IMAGE, sign it, and attest its SBOM
	COSIGN=$(COSIGN) .ci/publish-image $(IMAGE) $(VERSION) target/runwright.cdx.json

publish-chart: $(COSIGN) $(HELM) ## Package the chart, push it to CHARTS, and sign it
	COSIGN=$(COSIGN) HELM=$(HELM) .ci/publish-chart $(CHARTS) $(VERSION)

$(BUF):
	$(NPM) install --prefix .tools/buf-$(BUF_VERSION) @bufbuild/buf@$(BUF_VERSION)

$(MACHETE):
	$(CARGO_INSTALL) --root .tools/cargo-machete-$(MACHETE_VERSION) cargo-machete@$(MACHETE_VERSION)

$(DENY):
	$(CARGO_INSTALL) --root .tools/cargo-deny-$(DENY_VERSION) cargo-deny@$(DENY_VERSION)

$(GRPCURL):
	GOBIN=$(CURDIR)/$(@D) go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v$(GRPCURL_VERSION)

.tools/npm/installed: $(TYPESCRIPT)/package.json $(TYPESCRIPT)/package-lock.json
	mkdir -p .tools/npm
	cp $^ .tools/npm
	$(NPM) ci --prefix .tools/npm
	# Node.js looks for packages beside the script that imports them.
	ln -sfn ../../../../.tools/npm/node_modules $(TYPESCRIPT)/node_modules
	touch $@

# The suite needs a newer Node.js than the one that npm may run on, and brings it.
.tools/conformance/installed: $(CONFORMANCE)/package.json $(CONFORMANCE)/package-lock.json
	mkdir -p .tools/conformance
	cp $^ .tools/conformance
	$(NPM) ci --prefix .tools/conformance
	touch $@

.tools/python/installed: $(PYTHON)/requirements.txt
.tools/litellm/installed: $(LITELLM)/requirements.txt
.tools/python/installed .tools/litellm/installed:
	python3 -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --only-binary :all: --requirement $<
	touch $@

$(CLIENTS)/python/installed: $(addprefix $(PYTHON_CLIENT)/,pyproject.toml requirements.lock generate.py) $(PROTO)
	python3 -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes --requirement $(PYTHON_CLIENT)/requirements.lock
	# It is used where it stands; the stubs are made as it is installed.
	$(@D)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable $(PYTHON_CLIENT)
	touch $@

$(CLIENTS)/typescript/installed: $(TYPESCRIPT_CLIENT)/package.json $(TYPESCRIPT_CLIENT)/package-lock.json
	mkdir -p $(@D)
	cp $^ $(@D)
	$(NPM) ci --prefix $(@D)
	ln -sfn ../../$(@D)/node_modules $(TYPESCRIPT_CLIENT)/node_modules
	touch $@

$(CLIENTS)/typescript/built: $(CLIENTS)/typescript/installed $(shell find $(TYPESCRIPT_CLIENT)/src -name '*.ts' -not -path '*/gen/*') $(TYPESCRIPT_CLIENT)/tsconfig.json $(TYPESCRIPT_CLIENT)/buf.gen.yaml $(PROTO)
	npm --prefix $(TYPESCRIPT_CLIENT) run build -- --outDir $(abspath $(@D)/dist)
	touch $@
$(ACTIONLINT):
	GOBIN=$(CURDIR)/$(@D) go install github.com/rhysd/actionlint/cmd/actionlint@v$(ACTIONLINT_VERSION)

$(HELM):
	GOBIN=$(CURDIR)/$(@D) go install helm.sh/helm/v4/cmd/helm@v$(HELM_VERSION)

$(COSIGN):
	GOBIN=$(CURDIR)/$(@D) go install github.com/sigstore/cosign/v3/cmd/cosign@v$(COSIGN_VERSION)
