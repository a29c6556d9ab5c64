package runwright

import (
	"context"
	"fmt"

	runwrightv1 "runwright.dev/examples/go/gen/runwright/v1"
)

// TokenSource gives one user's token, and a new one when the last is about to expire. An oauth2.TokenSource fits with one
// line around it.
type TokenSource func(ctx context.Context) (string, error)

// Headers are the headers of one run or of an update, by MCP server.
type Headers = map[string]*runwrightv1.HeaderSet

// Bearer asks for a token and gives the headers that bring it to one MCP server. Call it for each run: the service keeps
// nothing from one run to the next.
func Bearer(ctx context.Context, server string, source TokenSource) (Headers, error) {
	token, err := source(ctx)
	if err != nil {
		return nil, fmt.Errorf("runwright: no token for MCP server %s: %w", server, err)
	}
	set := &runwrightv1.HeaderSet{Headers: map[string]string{"authorization": "Bearer " + token}}
	return Headers{server: set}, nil
}
