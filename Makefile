# What the targets need beyond Rust, Node.js and Python they install into .tools, in the versions that are pinned here.

BUF_VERSION := 1.75.0
MACHETE_VERSION := 0.9.2
DENY_VERSION := 0.20.2

BUF := .tools/buf-$(BUF_VERSION)/node_modules/.bin/buf
MACHETE := .tools/cargo-machete-$(MACHETE_VERSION)/bin/cargo-machete
DENY := .tools/cargo-deny-$(DENY_VERSION)/bin/cargo-deny

NPM := npm --no-audit --no-fund --ignore-scripts
# Unoptimised, for they build in half the time and work as well.
CARGO_INSTALL := CARGO_PROFILE_DEV_DEBUG=0 cargo install --locked --debug --quiet
CONFORMANCE := tests/conformance
TYPESCRIPT := tests/e2e/servers/typescript
PYTHON := tests/e2e/servers/python
LITELLM := tests/e2e/servers/litellm

.DEFAULT_GOAL := help
.PHONY: help demo test e2e conformance chart bench

help: ## List the targets
	@sed -n 's/^\([a-z0-9]*\):.*## \(.*\)/make \1: \2/p' $(MAKEFILE_LIST)

demo: ## Show an MCP server, the service and what a backend would do; SERVE=1 leaves it serving
	@cargo build --locked --example demo
	@cargo run --locked --quiet --example demo

test: $(BUF) $(MACHETE) $(DENY) ## Check all that needs no other servers: format, lints, documentation, tests, contract, dependencies, the demo
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	cargo clippy --test e2e --test conformance --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked
	cargo test --locked
	$(BUF) lint
	$(MACHETE)
	$(DENY) --locked check bans licenses sources
	$(MAKE) demo

e2e: .tools/npm/installed .tools/python/installed .tools/litellm/installed ## Run the service against real MCP servers in TypeScript and Python, against LiteLLM, conformance, and the Helm chart's checks
	cargo test --locked --test e2e
	$(MAKE) conformance
	$(MAKE) chart

conformance: .tools/conformance/installed ## Run MCP's official conformance suite against the service, and write docs/conformance.md
	cargo test --locked --test conformance

chart: ## Check the Helm chart; ONLY="lint unit" checks a part, WRITE=1 writes its README and its copies of docs
	$(MAKE) --no-print-directory -f tests/chart/Makefile $(if $(WRITE),write,test)

bench: ## Measure what a run costs, held against the three requests that it makes
	cargo bench --bench runs --locked

$(BUF):
	$(NPM) install --prefix .tools/buf-$(BUF_VERSION) @bufbuild/buf@$(BUF_VERSION)

$(MACHETE):
	$(CARGO_INSTALL) --root .tools/cargo-machete-$(MACHETE_VERSION) cargo-machete@$(MACHETE_VERSION)

$(DENY):
	$(CARGO_INSTALL) --root .tools/cargo-deny-$(DENY_VERSION) cargo-deny@$(DENY_VERSION)

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
