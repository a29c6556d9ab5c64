# Releases: what .github/workflows/release.yml calls, one target a step. VERSION is as in Cargo.toml; IMAGE and CHARTS are
# where the image and the chart go, such as REGISTRY/OWNER/runwright. Who pushes has logged in with docker. The Makefile
# in the folder above includes this; all paths are of that folder.

COSIGN_VERSION := 3.1.3
COSIGN := .tools/cosign-$(COSIGN_VERSION)/cosign
# The chart's checks pin it.
HELM_VERSION := $(shell sed -n 's/^HELM_VERSION := //p' tests/chart/Makefile 2>/dev/null)
HELM := .tools/helm-$(HELM_VERSION)/helm

# Docker's own builder makes no image for two platforms.
BUILDX := runwright-release

.PHONY: release-contract check-release release-notes image-platforms publish-image publish-chart

check-release: ## Check that what is here is the release of VERSION
	.ci/check-release $(VERSION)

release-contract: ## Take proto/ for the contract of the last release, when a version is made
	rm -rf proto-released/runwright
	cp -R proto/runwright proto-released/

release-notes: ## Show what the changelog tells of VERSION
	@.ci/release-notes $(VERSION)

image-platforms: ## Build the image for all platforms with docker's buildx, and keep nothing of it
	docker buildx inspect $(BUILDX) >/dev/null 2>&1 || docker buildx create --name $(BUILDX) --driver docker-container
	docker buildx build --builder $(BUILDX) --platform linux/amd64,linux/arm64 --output type=cacheonly .

publish-image: $(COSIGN) sbom ## Build the image for all platforms with buildx, push it to IMAGE, sign it, and attest its SBOM
	.ci/profile target/profiles/$(HOST).profdata
	COSIGN=$(COSIGN) .ci/publish-image $(IMAGE) $(VERSION) target/runwright.cdx.json target/profiles

publish-chart: $(COSIGN) $(HELM) ## Package the chart, push it to CHARTS, and sign it
	COSIGN=$(COSIGN) HELM=$(HELM) .ci/publish-chart $(CHARTS) $(VERSION)

$(HELM):
	GOBIN=$(CURDIR)/$(@D) go install helm.sh/helm/v4/cmd/helm@v$(HELM_VERSION)

$(COSIGN):
	GOBIN=$(CURDIR)/$(@D) go install github.com/sigstore/cosign/v3/cmd/cosign@v$(COSIGN_VERSION)
