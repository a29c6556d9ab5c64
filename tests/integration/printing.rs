//! What holds a secret prints none, or can't be printed.

use runwright::grpc::proto::{CancelRunRequest, ExplainHeadersRequest, RunStarted, UpdateRunHeadersRequest};

use crate::support::{
    headers,
    leak::{Sinks, assert_no_leak, canary},
    run_with,
};

#[test]
fn nothing_that_holds_a_secret_prints_it() {
    let secret = canary("printed");
    let set = headers([("authorization", &secret)]);
    let mut request = run_with("a", [("crm", set.clone())]);
    request.mcp_headers = Some(set.clone());
    let started = RunStarted { request_id: "r".into(), control_token: secret.clone(), instance: "i".into() };
    let cancel =
        CancelRunRequest { run_id: "r".into(), control_token: secret.clone(), reason: String::new() };
    let update = UpdateRunHeadersRequest {
        run_id: "r".into(),
        control_token: secret.clone(),
        per_run_mcp_headers: request.per_run_mcp_headers.clone(),
        mcp_headers: Some(set.clone()),
        per_run_model_headers: request.per_run_mcp_headers.clone(),
    };
    let explain = ExplainHeadersRequest {
        agent: "a".into(),
        per_run_mcp_headers: request.per_run_mcp_headers.clone(),
        mcp_headers: Some(set.clone()),
    };
    let value = runwright::headers::SecretValue::parse(&secret).unwrap();
    let mut sinks = Sinks::default();
    sinks
        .add("HeaderSet", format!("{set:?} {set:#?}"))
        .add("RunRequest", format!("{request:?} {request:#?}"))
        .add("RunStarted", format!("{started:?}"))
        .add("CancelRunRequest", format!("{cancel:?}"))
        .add("UpdateRunHeadersRequest", format!("{update:?}"))
        .add("ExplainHeadersRequest", format!("{explain:?}"))
        .add("an HTTP header", format!("{:?}", value.as_header()));
    assert_no_leak(&secret, &sinks);
}

/// Whether a type can be printed. An inherent constant hides the trait's, where its bound holds.
macro_rules! is_debug {
    ($type:ty) => {{
        struct Probe<T: ?Sized>(std::marker::PhantomData<T>);
        #[allow(dead_code, reason = "where the other constant hides it")]
        trait Otherwise {
            const IS_DEBUG: bool = false;
        }
        impl<T: ?Sized> Otherwise for Probe<T> {}
        #[allow(dead_code, reason = "where there is no `Debug`")]
        impl<T: ?Sized + std::fmt::Debug> Probe<T> {
            const IS_DEBUG: bool = true;
        }
        Probe::<$type>::IS_DEBUG
    }};
}

#[test]
fn types_of_secrets_cannot_be_printed_at_all() {
    assert!(is_debug!(String) && is_debug!(runwright::mcp::Error), "it can tell");
    let printable = [
        is_debug!(runwright::headers::SecretValue),
        is_debug!(runwright::headers::HeaderSet),
        is_debug!(runwright::headers::Merged),
        is_debug!(runwright::headers::DigestKey),
        is_debug!(runwright::credential::Source),
        is_debug!(runwright::credential::Headers),
        is_debug!(runwright::credential::TokenSource),
        is_debug!(runwright::credential::ClientCredentials),
        is_debug!(runwright::credential::SigningKey),
        is_debug!(runwright::credential::GoogleIdToken),
        is_debug!(runwright::mcp::ServerConfig),
        is_debug!(runwright::mcp::Connection),
        is_debug!(runwright::config::Config),
        is_debug!(runwright::run::RunRequest),
    ];
    assert_eq!(printable, [false; 14]);
}
