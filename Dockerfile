# A static image of pyworkflow with one module's workflows inside. The build context is a Go module: this repository, or your own project
# (then MODULE is ./workflows, and its go.mod requires github.com/pyworkflow-go/pyworkflow).
#
#   docker build --build-arg MODULE=./workflows -t my-workflows .
ARG GO_IMAGE=golang:1.26
ARG RUNTIME_IMAGE=scratch

FROM ${GO_IMAGE} AS build
# Where modules come from, for networks that have a proxy of their own.
ARG GOPROXY
ARG GOSUMDB
ARG GOFLAGS
ENV CGO_ENABLED=0
WORKDIR /src

# Modules first: they change less often than code. The project's own go.mod is left as it is.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
# The command line, of this module or of the version that go.mod names; it then builds itself together with the workflows.
RUN cp go.mod /tmp/build.mod && cp go.sum /tmp/build.sum && \
    go build -trimpath -mod=mod -modfile=/tmp/build.mod -o /tmp/pyworkflow github.com/pyworkflow-go/pyworkflow/cmd/pyworkflow
ARG MODULE=./examples/healthcheck
RUN mkdir -p /out/data /out/tmp && chmod 1777 /out/tmp && \
    /tmp/pyworkflow --module "${MODULE}" build -o /out/pyworkflow

FROM ${RUNTIME_IMAGE}
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:65532 /out/ /
USER 65532:65532
WORKDIR /data
# Health and metrics, inside the container alone unless the port is published.
ENV PYWORKFLOW_HTTP_LISTEN=0.0.0.0:8090
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["/pyworkflow", "health"]
ENTRYPOINT ["/pyworkflow"]
