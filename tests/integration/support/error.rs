//! What an error's details say.

use std::collections::HashMap;

use prost::Message;
use runwright::grpc::proto::{AuthChallenge, RunProgress};
use tonic::Status;
use tonic_types::pb::{BadRequest, ErrorInfo, RetryInfo, Status as RpcStatus, bad_request::FieldViolation};

/// An error, decoded.
#[derive(Debug, Default)]
pub struct Decoded {
    pub reason: String,
    pub domain: String,
    pub metadata: HashMap<String, String>,
    pub bad_request: Option<BadRequest>,
    pub retry_info: Option<RetryInfo>,
    pub challenge: Option<AuthChallenge>,
    pub progress: Option<RunProgress>,
    pub encoded_bytes: usize,
}

/// Decodes all details of a status; every one of ours has an ErrorInfo.
pub fn decode(status: &Status) -> Decoded {
    let rpc = RpcStatus::decode(status.details()).unwrap();
    assert_eq!(rpc.code, status.code() as i32);
    let mut decoded = Decoded { encoded_bytes: status.details().len(), ..Decoded::default() };
    for detail in rpc.details {
        let value = detail.value.as_slice();
        match detail.type_url.rsplit('/').next().unwrap() {
            "google.rpc.ErrorInfo" => {
                let info = ErrorInfo::decode(value).unwrap();
                (decoded.reason, decoded.domain, decoded.metadata) =
                    (info.reason, info.domain, info.metadata);
            }
            "google.rpc.BadRequest" => decoded.bad_request = Some(BadRequest::decode(value).unwrap()),
            "google.rpc.RetryInfo" => decoded.retry_info = Some(RetryInfo::decode(value).unwrap()),
            "runwright.v1.AuthChallenge" => decoded.challenge = Some(AuthChallenge::decode(value).unwrap()),
            "runwright.v1.RunProgress" => decoded.progress = Some(RunProgress::decode(value).unwrap()),
            other => panic!("an unknown detail: {other}"),
        }
    }
    assert_eq!(decoded.domain, "runwright.dev");
    assert!(!decoded.metadata["request_id"].is_empty());
    decoded
}

impl Decoded {
    /// What a BadRequest says.
    pub fn violations(&self) -> &[FieldViolation] {
        self.bad_request.as_ref().map_or(&[], |request| &request.field_violations)
    }

    /// The fields that a BadRequest names.
    pub fn fields(&self) -> Vec<&str> {
        self.violations().iter().map(|violation| violation.field.as_str()).collect()
    }
}
