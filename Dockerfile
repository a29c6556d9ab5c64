# The image: one static binary and the roots of public certificate authorities. There is no shell in it.
#
# `make image` builds it with buildah, where the binary of this machine's cargo stands in for the stage `builder`, and checks
# it. By itself, for both architectures, which Docker's default builder can't:
#   docker buildx create --driver docker-container --use
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=… --build-arg REVISION="$(git rev-parse HEAD)" \
#     --tag REGISTRY/runwright:… --push .

# What the code is used for, by target, which makes the service quicker: `--build-context profile=FOLDER`, with what
# `.ci/profile FOLDER/TARGET.profdata` wrote. Releases have it.
FROM scratch AS profile

# Compiles on the architecture that it runs on, for the one that is asked for: an emulated compiler takes hours.
FROM --platform=$BUILDPLATFORM docker.io/library/rust:1.95-bookworm AS chef
RUN cargo install --locked cargo-chef@0.1.78
WORKDIR /src

FROM chef AS planner
COPY . .
RUN cargo chef prepare --bin runwright --recipe-path recipe.json

FROM chef AS builder
ARG TARGETARCH
# glibc is linked in. It resolves names by /etc/hosts and DNS without the libraries that it loads for other sources.
# Symbols are stripped by a flag: a setting of cargo's profile would give them other names than those in the profile.
ENV RUSTFLAGS="-C target-feature=+crt-static -C strip=symbols" \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc
RUN --mount=type=bind,from=profile,target=/profiles \
    here=$(dpkg --print-architecture) && there=${TARGETARCH:-$here} \
    && case "$there" in \
        amd64) machine=x86_64 ;; \
        arm64) machine=aarch64 ;; \
        *) echo "there is no image for $there" >&2; exit 1 ;; \
    esac \
    && echo "$machine-unknown-linux-gnu" >/target \
    && if [ -f "/profiles/$(cat /target).profdata" ]; then \
        cp "/profiles/$(cat /target).profdata" /used.profdata \
        && echo "-C profile-use=/used.profdata -C llvm-args=-enable-split-machine-functions -C link-arg=-Wl,-z,keep-text-section-prefix"; \
    fi >/flags \
    && rustup target add "$(cat /target)" \
    && if [ "$there" != "$here" ]; then \
        apt-get update \
        && apt-get install --yes --no-install-recommends "gcc-$(echo $machine | tr _ -)-linux-gnu" "libc6-dev-$there-cross"; \
    fi
# The dependencies are a layer of their own, which lasts until they change.
COPY --from=planner /src/recipe.json .
RUN RUSTFLAGS="$RUSTFLAGS $(cat /flags)" cargo chef cook --release --locked --bin runwright --target "$(cat /target)" --recipe-path recipe.json
COPY . .
RUN RUSTFLAGS="$RUSTFLAGS $(cat /flags)" cargo build --release --locked --bin runwright --target "$(cat /target)" \
    && install -D "target/$(cat /target)/release/runwright" /image/runwright \
    && install -D --mode=644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt

FROM scratch
ARG VERSION=0.0.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=https://runwright.dev
LABEL org.opencontainers.image.title="Runwright" \
      org.opencontainers.image.description="Executes LLM agents over gRPC; every run carries its caller's own MCP headers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
COPY --from=builder /image/ /
COPY LICENSE /LICENSE
# A number: Kubernetes can't tell of a name that it is not root.
USER 65532:65532
EXPOSE 50051 9464
ENTRYPOINT ["/runwright"]
CMD ["serve", "--config", "/etc/runwright"]
