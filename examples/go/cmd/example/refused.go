package main

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"

	runwrightv1 "runwright.dev/examples/go/gen/runwright/v1"
	"runwright.dev/examples/go/runwright"
)

// refused brings headers for an MCP server that there is not: the error names the field, and nothing ran.
func refused(ctx context.Context, client *runwright.Client) error {
	headers, err := runwright.Bearer(ctx, "shopp", tokenOf("alice"))
	if err != nil {
		return err
	}
	_, err = client.Run(ctx, &runwrightv1.RunRequest{Agent: "support", Input: "Who am I?", PerRunMcpHeaders: headers})
	failure, ok := errors.AsType[*runwright.Error](err)
	if !ok || failure.Code != codes.InvalidArgument ||
		failure.Reason != runwrightv1.ErrorReason_ERROR_REASON_UNKNOWN_MCP_SERVER {
		return fmt.Errorf("the run ended with %v", err)
	}
	if failure.Admitted != runwright.NotAdmitted {
		return fmt.Errorf("it may have run: %w", err)
	}
	if len(failure.Violations) != 1 {
		return fmt.Errorf("%d violations: %w", len(failure.Violations), err)
	}
	violation := failure.Violations[0]
	if violation.GetField() == "" || violation.GetReason() != "UNKNOWN_MCP_SERVER" {
		return fmt.Errorf("violation %v", violation)
	}
	return nil
}
