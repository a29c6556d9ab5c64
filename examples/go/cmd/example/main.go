// Example shows what a backend does with Runwright, scene by scene, against the service of `make demo SERVE=1`. It exits
// with 0 only if all scenes went as they should. Arguments are the scenes to play; none: all.
//
// RUNWRIGHT_TARGET is where the service is. With OTEL_EXPORTER_OTLP_ENDPOINT spans are exported there.
package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"runwright.dev/examples/go/runwright"
)

const (
	defaultTarget = "127.0.0.1:50051"
	// runTimeout is the deadline of each scene's runs. A model with tools may well take minutes; the demo's takes none.
	runTimeout = 30 * time.Second
)

// scene shows one thing, and fails if it does not go as it should.
type scene struct {
	name string
	play func(context.Context, *runwright.Client) error
}

var scenes = []scene{
	{"unary", unary},
	{"streamed", streamed},
	{"cancelled", cancelled},
	{"refused", refused},
	{"unauthorized", unauthorized},
	{"refreshed", refreshed},
	{"approved", approved},
	{"retried", retried},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, names []string) (err error) {
	shutdown, err := startTracing(ctx)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, shutdown()) }()
	client, err := runwright.New(cmp.Or(os.Getenv("RUNWRIGHT_TARGET"), defaultTarget), runwright.DefaultRetryPolicy, dialOptions()...)
	if err != nil {
		return err
	}
	defer client.Close()
	for _, scene := range scenes {
		if len(names) > 0 && !slices.Contains(names, scene.name) {
			continue
		}
		if err := playTraced(ctx, scene, client); err != nil {
			return fmt.Errorf("%s: %w", scene.name, err)
		}
		fmt.Println("ok:", scene.name)
	}
	return nil
}

// dialOptions are for a service on the same host. Elsewhere there is TLS: credentials.NewTLS.
func dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// A span for each RPC, and `traceparent` in its metadata.
		grpc.WithStatsHandler(otelgrpc.NewClientHandler()),
	}
}

func playTraced(ctx context.Context, scene scene, client *runwright.Client) error {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	ctx, span := otel.Tracer("example").Start(ctx, "example."+scene.name, trace.WithSpanKind(trace.SpanKindClient))
	defer span.End()
	err := scene.play(ctx, client)
	if err != nil {
		span.SetStatus(codes.Error, "the scene failed")
	}
	return err
}
