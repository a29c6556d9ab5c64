package runwright

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	runwrightv1 "runwright.dev/examples/go/gen/runwright/v1"
)

const requestIDKey = "x-request-id"

// The service pings a silent connection every 30 s itself. The client's own pings notice a server that is gone without a
// word, so that a run in a long tool call does not wait for its deadline. The service takes any number of pings; proxies
// in between may not, so idle connections are left alone.
var keepaliveParameters = keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}

// Control calls must reach the instance that holds the run, over the connection that the run came by. pick_first keeps
// to one connection for as long as that lives; with round_robin, which a DNS record may ask for, a control call could go
// to another instance. To spread load over instances, have several clients, or a proxy in front.
const serviceConfig = `{"loadBalancingConfig": [{"pick_first": {}}]}`

// Client runs agents over one HTTP/2 connection. It may be used by many goroutines.
type Client struct {
	connection *grpc.ClientConn
	agents     runwrightv1.AgentServiceClient
	retry      RetryPolicy
}

// New makes a client of the service at target, e.g. "dns:///runwright:50051". It connects with the first run. The options
// must say how to be secure: grpc.WithTransportCredentials.
func New(target string, retry RetryPolicy, options ...grpc.DialOption) (*Client, error) {
	options = append([]grpc.DialOption{
		grpc.WithKeepaliveParams(keepaliveParameters),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDisableServiceConfig(),
		// RetryPolicy says why.
		grpc.WithDisableRetry(),
		// A run waits, until its deadline, for a service that restarts. So UNAVAILABLE is either the service's own word or
		// that of a connection that broke under the run.
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
	}, options...)
	connection, err := grpc.NewClient(target, options...)
	if err != nil {
		return nil, fmt.Errorf("runwright: %w", err)
	}
	return &Client{connection: connection, agents: runwrightv1.NewAgentServiceClient(connection), retry: retry}, nil
}

// Close ends the connection, and all runs that are live on it.
func (c *Client) Close() error {
	return c.connection.Close()
}

// Run runs an agent and answers when it has ended. The context should have a deadline: the service is told of it, and the
// run ends in time to say how far it came. Errors are of type *Error.
func (c *Client) Run(ctx context.Context, request *runwrightv1.RunRequest) (*runwrightv1.RunResponse, error) {
	ctx = identified(ctx)
	return send(ctx, c.retry, func() (*runwrightv1.RunResponse, *Error) {
		var trailer metadata.MD
		response, err := c.agents.Run(ctx, request, grpc.Trailer(&trailer))
		return response, newError(err, trailer)
	})
}

// RunStreamed runs an agent and gives the run when it has begun. The context, which should have a deadline, is that of the
// whole run: cancelling it ends the run. Errors are of type *Error.
func (c *Client) RunStreamed(ctx context.Context, request *runwrightv1.RunRequest) (*StreamedRun, error) {
	ctx = identified(ctx)
	// Once the first event is here the run was admitted, and is never sent again.
	return send(ctx, c.retry, func() (*StreamedRun, *Error) {
		return c.open(ctx, request)
	})
}

// WithRequestID names the request that runs are made for. The id goes to all MCP servers and models of a run, and stands
// in all its log lines and spans. It takes the place of an id that the context has. It is no idempotency key.
func WithRequestID(ctx context.Context, id string) context.Context {
	sent, _ := metadata.FromOutgoingContext(ctx)
	sent = sent.Copy()
	sent.Set(requestIDKey, id)
	return metadata.NewOutgoingContext(ctx, sent)
}

// identified gives the request an id if it has none, so that all attempts of a run have the same.
func identified(ctx context.Context) context.Context {
	if sent, _ := metadata.FromOutgoingContext(ctx); len(sent.Get(requestIDKey)) > 0 {
		return ctx
	}
	return WithRequestID(ctx, rand.Text())
}
