# The image: one static program, CA certificates, and a volume for the database. Without a shell, run as user 10001.
#
#   docker build --tag gemini-pool --build-arg GEMINI_POOL_COMMIT="$(git rev-parse HEAD)" .
FROM rust:1.95-alpine AS build
RUN apk add --no-cache build-base ca-certificates
WORKDIR /build
COPY . .
# The commit that `gemini-pool --version` names: the context has no git.
ARG GEMINI_POOL_COMMIT=
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/build/target \
    cargo build --release --locked \
    && dist/container/image-root /image target/release/gemini-pool /etc/ssl/certs/ca-certificates.crt

FROM scratch
COPY --from=build /image/usr /usr
COPY --from=build /image/etc /etc
# A new volume gets the owner and mode of this folder.
COPY --from=build --chown=10001:10001 /image/data /data
USER 10001:10001
WORKDIR /data
VOLUME /data
# Large sorts use files beside the database: the rest of the image may be read-only.
ENV DATABASE_URL=sqlite:///data/gemini-pool.db LISTEN=0.0.0.0:8000 SQLITE_TMPDIR=/data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --start-interval=1s CMD ["/usr/bin/gemini-pool", "health"]
ENTRYPOINT ["/usr/bin/gemini-pool"]
CMD ["serve"]
