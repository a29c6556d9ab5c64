//! Which gRPC code an error has, and the codes' names.

use tonic::Code;

use crate::{
    mcp, model,
    run::{Error, Failure},
};

/// The code of an error.
pub(super) fn code(error: &Error) -> Code {
    let started = error.progress().is_some_and(|progress| progress.begun > 0);
    match code_of(&error.failure) {
        // Sending again would run the tools again.
        Code::Unavailable if started => Code::Aborted,
        code => code,
    }
}

fn code_of(failure: &Failure) -> Code {
    match failure {
        Failure::Invalid(_) => Code::InvalidArgument,
        Failure::AgentNotFound(_) | Failure::RunNotFound { .. } => Code::NotFound,
        Failure::RequestTooLarge => Code::ResourceExhausted,
        Failure::Mcp(error) => match error.problem {
            mcp::Problem::Unauthorized(..) | mcp::Problem::Forbidden(..) | mcp::Problem::Protocol(_) => {
                Code::FailedPrecondition
            }
            mcp::Problem::Unavailable(_) | mcp::Problem::CredentialSource(_) => Code::Unavailable,
        },
        Failure::Model { error, .. } => match error {
            model::Error::Unauthorized { .. } | model::Error::Rejected { .. } => Code::FailedPrecondition,
            model::Error::RateLimited { .. } | model::Error::Unavailable(_) => Code::Unavailable,
        },
        Failure::Overloaded { .. } | Failure::ShuttingDown => Code::Unavailable,
        Failure::CredentialsTimeout(_) | Failure::OutputInvalid { .. } => Code::FailedPrecondition,
        Failure::Timeout => Code::DeadlineExceeded,
        Failure::Cancelled(_) | Failure::CallerGone | Failure::StreamStalled | Failure::ToolFailed(_) => {
            Code::Aborted
        }
        Failure::Internal(_) => Code::Internal,
    }
}

/// A code's name as gRPC and OpenTelemetry write it (<https://grpc.github.io/grpc/core/md_doc_statuscodes.html>).
pub(super) fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_codes() {
        for number in 0..=16 {
            let code = Code::from_i32(number);
            let camel: String = name(code)
                .split('_')
                .map(|word| format!("{}{}", &word[..1], word[1..].to_ascii_lowercase()))
                .collect();
            assert_eq!(camel, format!("{code:?}"));
        }
    }
}
