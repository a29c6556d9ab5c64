package dev.runwright.example;

import dev.runwright.client.RunwrightClient;
import dev.runwright.v1.ApprovalAnswer;
import dev.runwright.v1.FinishReason;
import dev.runwright.v1.InputAnswer;
import dev.runwright.v1.PendingInput;
import dev.runwright.v1.RunEvent;
import dev.runwright.v1.RunRequest;
import dev.runwright.v1.RunResponse;

/**
 * Lets a tool be called that needs somebody's word: once while the run waits, and once in a run
 * that goes on where another one ended.
 */
final class Approved implements Scene {
  @Override
  public void play(RunwrightClient client) {
    checkCancelled(approveStreamed(client));
    checkCancelled(approveUnary(client));
  }

  private RunResponse approveStreamed(RunwrightClient client) {
    RunResponse response = RunResponse.getDefaultInstance();
    try (var run = client.runStreamed(request(), settings())) {
      for (RunEvent event : run) {
        switch (event.getEventCase()) {
          case APPROVAL_REQUIRED -> run.answer(answer(event.getApprovalRequired()));
          case RUN_COMPLETED -> response = event.getRunCompleted();
          default -> {}
        }
      }
    }
    return response;
  }

  /**
   * Days may pass between the two runs, and another instance take the second: nothing is kept of
   * the first.
   */
  private RunResponse approveUnary(RunwrightClient client) {
    RunResponse first = client.run(request(), settings());
    FinishReason finished = first.getFinishReason();
    check(finished == FinishReason.FINISH_REASON_AWAITING_INPUT, "the run ended with %s", finished);
    RunRequest.Builder second =
        request().toBuilder().clearInput().addAllMessages(first.getNewMessagesList());
    first.getPendingList().forEach(pending -> second.addAnswers(answer(pending)));
    return client.run(second.build(), settings());
  }

  private static RunRequest request() {
    return RunRequest.newBuilder()
        .setAgent("orders")
        .setInput("Please cancel my order #1001.")
        .putAllPerRunMcpHeaders(Tokens.of("alice").bearer(SHOP))
        .build();
  }

  /** What a person would say who is shown the call. */
  private static InputAnswer answer(PendingInput pending) {
    boolean isAsked = pending.getApproval().getTool().equals("cancel_order");
    return InputAnswer.newBuilder()
        .setInputId(pending.getInputId())
        .setApproval(ApprovalAnswer.newBuilder().setApproved(isAsked))
        .build();
  }

  private void checkCancelled(RunResponse response) {
    String answer = response.getFinalOutput();
    check(answer.contains("is cancelled"), "the answer is %s", answer);
  }
}
