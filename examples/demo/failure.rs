//! What a backend can read from an error: the code for its own logic, the reason, and the details that tell it what to do.

#![allow(clippy::disallowed_types, reason = "a client reads statuses")]

use prost::{Message, Name};
use runwright::grpc::proto::{AuthChallenge, AuthPhase};
use tonic::{Code, Status};
use tonic_types::{ErrorInfo, StatusExt, pb};

use crate::{
    paint,
    render::{self, layer, line},
};

/// An error with its details.
pub fn render(status: &Status) -> String {
    let code = code_name(status.code());
    let Some(info) = status.get_details_error_info() else {
        return line("error", &format!("{} {}", paint::bad(&code), status.message()));
    };
    line("error", &format!("{} {}", paint::bad(&code), paint::bad(&info.reason)))
        + &line("message", status.message())
        + &challenge(status)
        + &violations(status)
        + &line("admitted", admitted(&info))
}

/// The MCP server's refusal of a credential.
fn challenge(status: &Status) -> String {
    let Some(challenge) = detail::<AuthChallenge>(status) else { return String::new() };
    let phase = challenge.phase();
    let phase = AuthPhase::as_str_name(&phase).trim_start_matches("AUTH_PHASE_");
    line("challenge", &render::challenge(&challenge))
        + &line(
            "",
            &format!("while {phase}; the refused header came from {}", layer(challenge.credential_layer())),
        )
}

/// The fields that are wrong.
fn violations(status: &Status) -> String {
    let fields = status.get_details_bad_request().map(|request| request.field_violations).unwrap_or_default();
    fields.iter().map(|violation| line("field", &paint::good(&violation.field))).collect()
}

fn admitted(info: &ErrorInfo) -> &'static str {
    let begun = info.metadata.get("tool_calls_started").map_or("0", String::as_str);
    match info.metadata.get("admitted").map(String::as_str) {
        Some("false") => "no: nothing ran, no upstream was asked",
        Some(_) if begun == "0" => "yes, but no tool was called",
        _ => "yes, and tools were called",
    }
}

/// A detail of ours, from the `google.rpc.Status` that gRPC carries beside its own.
fn detail<M: Message + Name + Default>(status: &Status) -> Option<M> {
    let details = pb::Status::decode(status.details()).ok()?.details;
    details.iter().find_map(|any| any.to_msg().ok())
}

/// The code as specifications write it.
fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
