package main

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"

	runwrightv1 "runwright.dev/examples/go/gen/runwright/v1"
	"runwright.dev/examples/go/runwright"
)

// unauthorized brings a token that has expired: the error has the MCP server's challenge. It is FAILED_PRECONDITION, for
// UNAUTHENTICATED would be about the caller's credential to Runwright itself.
func unauthorized(ctx context.Context, client *runwright.Client) error {
	headers, err := runwright.Bearer(ctx, shop, tokenOf("expired"))
	if err != nil {
		return err
	}
	_, err = client.Run(ctx, &runwrightv1.RunRequest{Agent: "support", Input: "Who am I?", PerRunMcpHeaders: headers})
	failure, ok := errors.AsType[*runwright.Error](err)
	if !ok || failure.Code != codes.FailedPrecondition ||
		failure.Reason != runwrightv1.ErrorReason_ERROR_REASON_MCP_UNAUTHORIZED {
		return fmt.Errorf("the run ended with %v", err)
	}
	if failure.Admitted != runwright.Admitted || failure.RunID == "" || failure.Progress == nil {
		return fmt.Errorf("it does not say that the run was admitted: %w", err)
	}
	challenge := failure.Challenge
	if challenge.GetMcpServer() != shop || challenge.GetScheme() != "Bearer" || challenge.GetError() != "invalid_token" {
		return fmt.Errorf("challenge %v", challenge)
	}
	return nil
}
