//! The shop: an MCP server that answers by whose bearer token it is shown, made with the official SDK's server side.
//!
//! It keeps no session. A token that it does not know gets 401 and a challenge (RFC 6750 section 3), and `find_orders` is
//! there only for tokens that have the scope for it.

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    http::{
        StatusCode,
        header::{AUTHORIZATION, WWW_AUTHENTICATE},
        request::Parts,
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    handler::server::tool::Extension,
    model::{CacheScope, ListToolsResult, PaginatedRequestParams},
    service::RequestContext,
    tool, tool_handler, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use tokio::net::TcpListener;
use url::Url;

use crate::Fallible;

/// Whom a token belongs to.
struct Person {
    token: &'static str,
    name: &'static str,
    /// `None`: the token has no scope for orders.
    orders: Option<&'static str>,
}

const PEOPLE: [Person; 3] = [
    Person {
        token: "alice-demo-token",
        name: "Alice Archer",
        orders: Some("#1001 a standing desk, #1002 a desk lamp"),
    },
    Person { token: "bob-demo-token", name: "Bob Brown", orders: Some("#2001 a bicycle bell") },
    Person { token: "carol-demo-token", name: "Carol Cole", orders: None },
];

/// Opens the shop on a free port, for as long as the process lives.
pub async fn open() -> Fallible<Url> {
    let config =
        StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true);
    let mcp = StreamableHttpService::new(|| Ok(Shop), Arc::new(LocalSessionManager::default()), config);
    let router = Router::new().nest_service("/mcp", mcp).layer(middleware::from_fn(authenticate));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, router).await });
    Ok(Url::parse(&url)?)
}

/// Lets a request in whose token is somebody's, and notes whose.
async fn authenticate(mut request: Request, next: Next) -> Response {
    let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
    let Some(person) = PEOPLE.iter().find(|person| Some(person.token) == token) else {
        let challenge = [(WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#)];
        return (StatusCode::UNAUTHORIZED, challenge).into_response();
    };
    request.extensions_mut().insert::<&'static Person>(person);
    next.run(request).await
}

struct Shop;

#[tool_router]
impl Shop {
    #[tool(description = "Says who the customer is")]
    async fn whoami(&self, Extension(request): Extension<Parts>) -> Result<String, ErrorData> {
        Ok(format!("You are {}.", person(&request)?.name))
    }

    #[tool(description = "Lists the customer's open orders")]
    async fn find_orders(&self, Extension(request): Extension<Parts>) -> Result<String, ErrorData> {
        let orders =
            person(&request)?.orders.ok_or_else(|| ErrorData::invalid_params("no such tool", None))?;
        Ok(format!("Your open orders: {orders}."))
    }
}

#[tool_handler(name = "shop")]
impl ServerHandler for Shop {
    /// The tools that this token may use.
    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let request = context.extensions.get::<Parts>().ok_or_else(no_person)?;
        let person = person(request)?;
        let mut tools = Self::tool_router().list_all();
        tools.retain(|tool| tool.name != "find_orders" || person.orders.is_some());
        let list = ListToolsResult::with_all_items(tools);
        Ok(list.with_ttl_ms(60_000).with_cache_scope(CacheScope::Private))
    }
}

fn person(request: &Parts) -> Result<&'static Person, ErrorData> {
    request.extensions.get::<&'static Person>().copied().ok_or_else(no_person)
}

fn no_person() -> ErrorData {
    ErrorData::internal_error("the request was not authenticated", None)
}
