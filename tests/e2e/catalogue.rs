//! `ListTools` lists what the servers list.

use runwright::grpc::proto::ListToolsRequest;
use serde_json::Value;

use crate::support::{World, service::SUBJECT};

mod tools_are_listed {
    against!(super::list: everything typescript_modern typescript_handshake python_modern python_stateless python_stateful);
}

async fn list(world: World) {
    let kind = world.server.kind;
    let request =
        ListToolsRequest { agent: "answering".to_owned(), include_schemas: true, ..Default::default() };
    let response = world.service.catalogue().list_tools(request).await.unwrap().into_inner();
    let [server] = &response.servers[..] else { panic!("{response:?}") };
    assert_eq!((&*server.mcp_server, &server.problem), (SUBJECT, &None));
    assert_eq!(server.dropped_tools, []);
    for expected in [kind.answering(), kind.failing(), kind.slow()] {
        let tool = server.tools.iter().find(|tool| tool.name == expected.name).expect(expected.name);
        let schema: Value = serde_json::from_str(&tool.input_schema_json).unwrap();
        assert_eq!(schema["type"], "object", "{tool:?}");
        assert!(!tool.description.is_empty(), "{tool:?}");
    }
}
