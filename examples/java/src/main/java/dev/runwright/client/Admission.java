package dev.runwright.client;

/** Whether a run that failed had begun. */
public enum Admission {
  /** The error is not the service's own, e.g. that of a connection that broke. */
  UNKNOWN,
  /** Nothing ran and no upstream was asked. */
  NOT_ADMITTED,
  /** Models and tools may have been asked. */
  ADMITTED,
}
