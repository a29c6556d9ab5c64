# The clients in four languages: how they are built and checked. The Makefile in the folder above includes this; all paths are
# of that folder.

PROTO := $(wildcard proto/runwright/v1/*.proto)
PYTHON_CLIENT := examples/python
TYPESCRIPT_CLIENT := examples/typescript
GO_CLIENT := examples/go
JAVA_CLIENT := examples/java
CLIENTS := .tools/clients

.PHONY: clients clients-python clients-typescript clients-go clients-java

clients: clients-python clients-typescript clients-go clients-java ## Build and check the clients in examples

clients-python: $(CLIENTS)/python/installed ## Build the Python client, and check its format, lints, types and tests
	cd $(PYTHON_CLIENT) && $(CURDIR)/$(<D)/bin/ruff check --quiet && $(CURDIR)/$(<D)/bin/ruff format --quiet --check
	cd $(PYTHON_CLIENT) && $(CURDIR)/$(<D)/bin/mypy && $(CURDIR)/$(<D)/bin/pytest --quiet

clients-typescript: $(CLIENTS)/typescript/built ## Build the TypeScript client, and check its format, lints, types and tests
	npm --prefix $(TYPESCRIPT_CLIENT) run check
	node --test --test-reporter=dot $(<D)/dist/client/retry.test.js

clients-go: $(CLIENTS)/go/example ## Build the client in Go, and check its format, lints and tests
	@cd $(GO_CLIENT) && unformatted=$$(gofmt -l .) && test -z "$$unformatted" || { echo "gofmt -w $$unformatted"; exit 1; }
	cd $(GO_CLIENT) && go vet ./... && go tool staticcheck ./... && go test ./...

clients-java: $(JAVA_CLIENT)/target/runwright-example.jar ## Build the client in Java, with its lints and tests, and check its format
	cd $(JAVA_CLIENT) && mvn -q -B spotless:check

$(CLIENTS)/go/example: $(BUF) $(PROTO) $(shell find $(GO_CLIENT) -name gen -prune -o -type f -print)
	cd $(GO_CLIENT) && $(CURDIR)/$(BUF) generate
	cd $(GO_CLIENT) && go build -buildvcs=false -o $(CURDIR)/$@ ./cmd/example

# With its tests and lints, which take no time beside the rest.
$(JAVA_CLIENT)/target/runwright-example.jar: $(PROTO) $(JAVA_CLIENT)/pom.xml $(shell find $(JAVA_CLIENT)/src -type f)
	cd $(JAVA_CLIENT) && mvn -q -B package
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
