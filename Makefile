# What the targets need beyond Rust, Go, Node.js and Python they install into .tools, in the versions that are pinned here.

BUF_VERSION := 1.75.0
MACHETE_VERSION := 0.9.2
DENY_VERSION := 0.20.2
GRPCURL_VERSION := 1.9.4
ACTIONLINT_VERSION := 1.7.12
CYCLONEDX_VERSION := 0.5.9

BUF := .tools/buf-$(BUF_VERSION)/node_modules/.bin/buf
MACHETE := .tools/cargo-machete-$(MACHETE_VERSION)/bin/cargo-machete
DENY := .tools/cargo-deny-$(DENY_VERSION)/bin/cargo-deny

CYCLONEDX := .tools/cargo-cyclonedx-$(CYCLONEDX_VERSION)/bin/cargo-cyclonedx
ACTIONLINT := .tools/actionlint-$(ACTIONLINT_VERSION)/actionlint
GRPCURL := .tools/grpcurl-$(GRPCURL_VERSION)/grpcurl

NPM := npm --no-audit --no-fund --ignore-scripts
# Unoptimised, for they build in half the time and work as well.
CARGO_INSTALL := CARGO_PROFILE_DEV_DEBUG=0 cargo install --locked --debug --quiet
CONFORMANCE := tests/conformance
TYPESCRIPT := tests/e2e/servers/typescript
PYTHON := tests/e2e/servers/python
LITELLM := tests/e2e/servers/litellm

VERSION = $(shell sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' Cargo.toml)
REVISION = $(shell git describe --always --dirty --abbrev=40 --exclude '*')
# The image of a commit is the same one whenever it is made.
COMMITTED = $(shell git log -1 --format=%ct)
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
IMAGE = localhost/runwright:$(VERSION)
# Where the build is that is released for this machine.
OPTIMIZED := target/optimized
# Has what a profile calls hot stand together, and what it calls cold elsewhere, down to blocks: fewer pages are touched. The
# Dockerfile has the same.
LAID_OUT := -C llvm-args=-enable-split-machine-functions -C link-arg=-Wl,-z,keep-text-section-prefix
# What stands in for the Dockerfile's stage of that name.
BUILDER := target/image/builder

.DEFAULT_GOAL := help
.PHONY: help demo test e2e conformance chart cluster kind docs contract workflows bench optimized image sbom

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

chart: $(GRPCURL) ## Check the Helm chart; ONLY="lint unit" checks a part, WRITE=1 writes its README and its copies of docs
	$(MAKE) --no-print-directory -f tests/chart/Makefile GRPCURL=$(GRPCURL) $(if $(WRITE),write,test)

cluster: $(GRPCURL) ## Install the chart into the cluster of kubectl's context, have an agent answer there, and take it away; VALUES="--set …" go to helm
	$(MAKE) --no-print-directory -f tests/chart/Makefile GRPCURL=$(GRPCURL) cluster

kind: $(GRPCURL) ## The same with an image of this tree in a cluster of kind's own; needs docker and kubectl
	$(MAKE) --no-print-directory -f tests/chart/Makefile GRPCURL=$(GRPCURL) IMAGE=$(IMAGE) kind

bench: ## Measure what a run costs, held against the three requests that it makes
	$(MAKE) --no-print-directory optimized
	BENCH_SERVICE=$(CURDIR)/$(OPTIMIZED)/runwright cargo bench --bench runs --locked

optimized: ## Build the service as it is released, compiled by a profile of its own runs: target/optimized/runwright
	# cargo does not see that a profile has changed.
	rm -rf $(OPTIMIZED)
	.ci/profile $(OPTIMIZED)/$(HOST).profdata
	RUSTFLAGS="-C profile-use=$(CURDIR)/$(OPTIMIZED)/$(HOST).profdata $(LAID_OUT)" \
		cargo build --release --locked --bin runwright --target $(HOST) --target-dir $(OPTIMIZED)
	.ci/profile --used $(OPTIMIZED)/$(HOST).profdata $(OPTIMIZED)/$(HOST)/release/runwright
	cp $(OPTIMIZED)/$(HOST)/release/runwright $(OPTIMIZED)/runwright

image: $(GRPCURL) ## Build the container image with buildah, run it as Kubernetes would, and check it; for root
	@buildah --version && runc --version || { echo "This needs buildah and runc: apt-get install buildah runc" >&2; exit 1; }
	# As the Dockerfile does. --target keeps it from build scripts, which load libraries.
	CARGO_PROFILE_RELEASE_STRIP=symbols RUSTFLAGS="-C target-feature=+crt-static" \
		cargo build --release --locked --bin runwright --target $(HOST) --target-dir target/image
	rm -rf $(BUILDER)
	install -D target/image/$(HOST)/release/runwright $(BUILDER)/image/runwright
	install -D --mode=644 /etc/ssl/certs/ca-certificates.crt $(BUILDER)/image/etc/ssl/certs/ca-certificates.crt
	buildah build --build-context builder=$(BUILDER) --timestamp $(COMMITTED) --tag $(IMAGE) --build-arg VERSION=$(VERSION) \
		--build-arg REVISION=$(REVISION) --build-arg CREATED="$$(date --utc --date=@$(COMMITTED) +%FT%TZ)" .
	GRPCURL=$(GRPCURL) python3 -B tests/image/check.py $(IMAGE)

sbom: $(CYCLONEDX) ## List the crates that are in the binary, with licences and hashes: target/runwright.cdx.json (CycloneDX)
	SOURCE_DATE_EPOCH=$(COMMITTED) $(CYCLONEDX) cyclonedx --quiet --format json --spec-version 1.5 --describe binaries --no-build-deps
	# It has no option for where to write, and names this crate by its folder.
	mkdir -p target
	sed 's|path+file://[^#]*#||' runwright_bin.cdx.json >target/runwright.cdx.json
	rm runwright_bin.cdx.json

$(BUF):
	$(NPM) install --prefix .tools/buf-$(BUF_VERSION) @bufbuild/buf@$(BUF_VERSION)

$(MACHETE):
	$(CARGO_INSTALL) --root .tools/cargo-machete-$(MACHETE_VERSION) cargo-machete@$(MACHETE_VERSION)

$(DENY):
	$(CARGO_INSTALL) --root .tools/cargo-deny-$(DENY_VERSION) cargo-deny@$(DENY_VERSION)

$(CYCLONEDX):
	$(CARGO_INSTALL) --root .tools/cargo-cyclonedx-$(CYCLONEDX_VERSION) cargo-cyclonedx@$(CYCLONEDX_VERSION)

$(ACTIONLINT):
	GOBIN=$(CURDIR)/$(@D) go install github.com/rhysd/actionlint/cmd/actionlint@v$(ACTIONLINT_VERSION)

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

include examples/clients.mk
include .ci/release.mk
