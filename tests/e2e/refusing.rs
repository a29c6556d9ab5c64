//! A server that checks tokens itself: its refusal is told to the caller, and to nobody else.

use prost::Message;
use runwright::grpc::proto::{AuthChallenge, AuthPhase, HeaderLayer};
use tonic::{Code, Status};
use tonic_types::{StatusExt, pb};

use crate::support::{Caller, World, service::SUBJECT};

mod a_refused_token_fails_its_run_alone {
    against!(super::refused: python_guarded);
}

async fn refused(world: World) {
    let (ada, bob) = (Caller::user("ada", "ada-1"), Caller::user("bob", "bob-1"));
    let nobody = Caller::without_headers("nobody-1");
    assert_eq!(world.service.run("answering", &ada).await.unwrap().final_output, "It says ada.");
    for (caller, layer) in [(&bob, HeaderLayer::RunServer), (&nobody, HeaderLayer::Unspecified)] {
        let status = world.service.run("answering", caller).await.unwrap_err();
        assert_refused(&status, layer);
        assert!(!format!("{status:?}").contains(secret(&bob)));
    }
    let again = world.service.run("answering", &ada.again("ada-2")).await.unwrap();
    assert_eq!(again.final_output, "It says ada.");
    assert!(!world.service.process.output().contains(secret(&bob)));
}

fn secret(caller: &Caller) -> &str {
    caller.authorization.as_ref().and_then(|value| value.rsplit('.').next()).unwrap()
}

fn assert_refused(status: &Status, layer: HeaderLayer) {
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "MCP_UNAUTHORIZED");
    let details = pb::Status::decode(status.details()).unwrap().details;
    let challenge = details.iter().find(|detail| detail.type_url.ends_with("/runwright.v1.AuthChallenge"));
    let expected = AuthChallenge {
        mcp_server: SUBJECT.to_owned(),
        phase: AuthPhase::Opening.into(),
        scheme: "Bearer".to_owned(),
        error: "invalid_token".to_owned(),
        scope: String::new(),
        resource_metadata: "https://mcp.example.com/.well-known/oauth-protected-resource/mcp".to_owned(),
        credential_layer: layer.into(),
    };
    assert_eq!(AuthChallenge::decode(&*challenge.expect("a challenge").value).unwrap(), expected);
}
