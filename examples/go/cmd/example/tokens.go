package main

import (
	"context"

	"runwright.dev/examples/go/runwright"
)

// shop is the MCP server that the demo's agents use.
const shop = "shop"

// tokenOf gives a user's tokens. A backend asks its identity provider here, or its store of users' tokens, and gets
// another one each time that the last is about to expire.
func tokenOf(user string) runwright.TokenSource {
	return func(context.Context) (string, error) {
		return user + "-demo-token", nil
	}
}
