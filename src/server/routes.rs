//! Which service a call is for.
//!
//! tonic's own router is axum's. It takes paths apart for patterns that gRPC has none of, and packs each request and each
//! answer's body twice on the way. The two services that are asked all the time are found by the first part of the path;
//! the others are left to it, and so is what is none of them.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures_util::FutureExt;
use http::{Request, Response};
use tonic::{body::Body, codegen::BoxFuture, server::NamedService, service::Routes as Others};
use tower::Service;

use crate::grpc::{
    AgentHandlers, CatalogHandlers,
    proto::{agent_service_server::AgentServiceServer, catalog_service_server::CatalogServiceServer},
};

type Agents = AgentServiceServer<AgentHandlers>;
type Catalog = CatalogServiceServer<CatalogHandlers>;

/// All services.
#[derive(Clone)]
pub(super) struct Routes {
    pub(super) agents: Agents,
    pub(super) catalog: Catalog,
    /// Health and reflection.
    pub(super) others: Others,
}

impl Service<Request<Body>> for Routes {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // So are all of them, always.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match service(request.uri().path()) {
            Some(Agents::NAME) => self.agents.call(request),
            Some(Catalog::NAME) => self.catalog.call(request),
            _ => self.others.call(request).boxed(),
        }
    }
}

/// The service in a path: `/{service}/{method}`.
fn service(path: &str) -> Option<&str> {
    path.strip_prefix('/')?.split_once('/').map(|(service, _)| service)
}

#[cfg(test)]
mod tests {
    use super::service;

    #[test]
    fn a_path_names_a_service_and_a_method() {
        assert_eq!(service("/runwright.v1.AgentService/Run"), Some("runwright.v1.AgentService"));
        assert_eq!(service("/a/b/c"), Some("a"));
        for none in ["", "*", "/", "/a", "a/b"] {
            assert_eq!(service(none), None, "{none}");
        }
    }
}
