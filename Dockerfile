# Builds the container image: docker build --build-arg VERSION=1.2.3 .
# For several platforms: docker buildx build --platform linux/amd64,linux/arm64 .

# The compiler runs on the machine that builds, whatever the image is built for: Go needs no emulation for that.
FROM --platform=$BUILDPLATFORM golang:1.26.8-alpine3.24@sha256:ce864e7223ac17b1775e6fd0b4c0db580c2eb50e7953a427916379e4b92a1628 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=development
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath \
    -ldflags="-s -w -X github.com/circular-trade/circular-trade/internal/cli.release=$VERSION" \
    -o /out/trade ./cmd/trade

# Alpine, because there must be a shell and psql for those who look into things, and it has both in a few megabytes. The
# program itself needs nothing but the certificates.
FROM alpine:3.24.2@sha256:31b6477333eb8257db9e5d7c3a7264fd0467928756f0bbcc27d35bea5d28cdbd
ARG VERSION=development
LABEL org.opencontainers.image.title="Circular Trade" \
      org.opencontainers.image.source="https://github.com/circular-trade/circular-trade" \
      org.opencontainers.image.description="Finds rings of traders who can give each other what they want" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION"
# The release of Alpine is pinned above; of its packages, the newest patches are wanted.
# hadolint ignore=DL3018
RUN apk add --no-cache ca-certificates postgresql-client
COPY --from=build /out/trade /usr/local/bin/
COPY deploy/entrypoint.sh /usr/local/bin/
# What docs/upgrading.md and docs/backups.md have operators run with psql.
COPY sql/operators /usr/local/share/circular-trade
# A number, so that it can be seen without looking into the image that this is not root.
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["entrypoint.sh"]
