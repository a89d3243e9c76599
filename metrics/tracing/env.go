package tracing

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
)

// FromEnvironment makes a Tracer that sends to where OpenTelemetry's standard variables say, over OTLP/HTTP; nil when they do not ask for one. It is asked for by
// OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_TRACES_EXPORTER=otlp; OTEL_SDK_DISABLED=true and OTEL_TRACES_EXPORTER=none refuse. Headers,
// certificates, timeouts, samplers, limits and resource attributes are the variables' of the SDK; the service's name is pyworkflow unless OTEL_SERVICE_NAME or
// OTEL_RESOURCE_ATTRIBUTES names it. An error says in one line which variable is wrong. Nothing is sent before the first span has ended.
func FromEnvironment(ctx context.Context, version string) (*Tracer, error) {
	asked, err := asked()
	if err != nil || !asked {
		return nil, err
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	host, _ := os.Hostname() // absent where unknown
	res, err := resource.New(ctx, resource.WithAttributes(semconv.ServiceName("pyworkflow"), semconv.ServiceVersion(version), semconv.HostName(host)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) && !errors.Is(err, resource.ErrSchemaURLConflict) {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	return New(sdktrace.WithBatcher(exporter), sdktrace.WithResource(res)), nil
}

func asked() (bool, error) {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	endpoint, variable := "", ""
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		if endpoint = os.Getenv(name); endpoint != "" {
			variable = name
			break
		}
	}
	switch kind := os.Getenv("OTEL_TRACES_EXPORTER"); kind {
	case "none":
		return false, nil
	case "":
		if endpoint == "" {
			return false, nil
		}
	case "otlp":
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER=%q: only otlp and none are known; set one of them", kind)
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if p := os.Getenv(name); p != "" {
			if p != "http/protobuf" {
				return false, fmt.Errorf("%s=%q: only http/protobuf is spoken; set that, and the collector's HTTP endpoint (usually port 4318)", name, p)
			}
			break
		}
	}
	if endpoint != "" {
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return false, fmt.Errorf("%s=%q: is no URL to send to; set one such as http://localhost:4318", variable, endpoint)
		}
	}
	return true, nil
}
