//! The shop: an MCP server that answers by whose bearer token it is shown, made with the official SDK's server side.
//!
//! It keeps no session. A token that it does not know gets 401 and a challenge (RFC 6750 section 3), and `find_orders` is
//! there only for tokens that have the scope for it. One token expires in mid-run, and does so again in every run: by the
//! time of `find_orders` it always has.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::{
        HeaderMap, StatusCode,
        header::{AUTHORIZATION, WWW_AUTHENTICATE},
        request::Parts,
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    handler::server::{tool::Extension, wrapper::Parameters},
    model::{CacheScope, ListToolsResult, PaginatedRequestParams},
    service::RequestContext,
    tool, tool_handler, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::{net::TcpListener, time::sleep};
use url::Url;

use crate::{Fallible, spans::Spans};

/// How long `await_delivery` takes: longer than a call may.
const DELIVERY: Duration = Duration::from_secs(60 * 60);

/// Whom a token belongs to.
struct Person {
    token: &'static str,
    /// The tool by whose call the token has expired.
    expired_by: Option<&'static str>,
    name: &'static str,
    /// `None`: the token has no scope for orders.
    orders: Option<&'static str>,
}

const ALICE: Person = Person {
    token: "alice-demo-token",
    expired_by: None,
    name: "Alice Archer",
    orders: Some("#1001 a standing desk, #1002 a desk lamp"),
};

const PEOPLE: [Person; 4] = [
    ALICE,
    Person { token: "alice-short-demo-token", expired_by: Some("find_orders"), ..ALICE },
    Person {
        token: "bob-demo-token",
        expired_by: None,
        name: "Bob Brown",
        orders: Some("#2001 a bicycle bell"),
    },
    Person { token: "carol-demo-token", expired_by: None, name: "Carol Cole", orders: None },
];

/// How often each tool was executed: what the shop itself knows of a run.
#[derive(Clone, Default)]
pub struct Executed(Arc<Mutex<BTreeMap<&'static str, u32>>>);

impl Person {
    /// Whether the token is of no use for this request. MCP puts the name of the tool that is called into a header.
    fn has_expired(&self, request: &HeaderMap) -> bool {
        self.expired_by.is_some_and(|tool| request.get("mcp-name").is_some_and(|name| name == tool))
    }
}

impl Executed {
    fn note(&self, tool: &'static str) {
        *self.0.lock().entry(tool).or_default() += 1;
    }

    /// What was executed since this was last asked.
    pub fn take(&self) -> BTreeMap<&'static str, u32> {
        std::mem::take(&mut self.0.lock())
    }
}

/// Opens the shop on a free port, for as long as the process lives; tells where, and what it executes.
pub async fn open(spans: &Spans) -> Fallible<(Url, Executed)> {
    let executed = Executed::default();
    let shop = Shop { executed: executed.clone() };
    let config =
        StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true);
    let sessions = Arc::new(LocalSessionManager::default());
    let mcp = StreamableHttpService::new(move || Ok(shop.clone()), sessions, config);
    let router = Router::new().nest_service("/mcp", mcp).layer(middleware::from_fn(authenticate));
    let router = spans.of_shop(router);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, router).await });
    Ok((Url::parse(&url)?, executed))
}

/// Lets a request in whose token is somebody's and has not expired, and notes whose.
async fn authenticate(mut request: Request, next: Next) -> Response {
    let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
    let person = PEOPLE.iter().find(|person| Some(person.token) == token);
    let Some(person) = person.filter(|person| !person.has_expired(request.headers())) else {
        let challenge = [(WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#)];
        return (StatusCode::UNAUTHORIZED, challenge).into_response();
    };
    request.extensions_mut().insert::<&'static Person>(person);
    next.run(request).await
}

/// Which order is meant.
#[derive(Deserialize, JsonSchema)]
struct Order {
    /// Its number, e.g. #1001.
    order: String,
}

#[derive(Clone)]
struct Shop {
    executed: Executed,
}

#[tool_router]
impl Shop {
    #[tool(description = "Says who the customer is")]
    async fn whoami(&self, Extension(request): Extension<Parts>) -> Result<String, ErrorData> {
        let person = person(&request)?;
        self.executed.note("whoami");
        Ok(format!("You are {}.", person.name))
    }

    #[tool(description = "Lists the customer's open orders")]
    async fn find_orders(&self, Extension(request): Extension<Parts>) -> Result<String, ErrorData> {
        let orders =
            person(&request)?.orders.ok_or_else(|| ErrorData::invalid_params("no such tool", None))?;
        self.executed.note("find_orders");
        Ok(format!("Your open orders: {orders}."))
    }

    #[tool(description = "Cancels one of the customer's open orders")]
    async fn cancel_order(
        &self,
        Parameters(Order { order }): Parameters<Order>,
        Extension(request): Extension<Parts>,
    ) -> Result<String, ErrorData> {
        let orders = person(&request)?.orders.unwrap_or_default();
        if !orders.contains(&order) {
            return Err(ErrorData::invalid_params("no such order", None));
        }
        self.executed.note("cancel_order");
        Ok(format!("Order {order} is cancelled."))
    }

    #[tool(description = "Waits until the customer's orders have arrived, which takes long")]
    async fn await_delivery(&self, Extension(request): Extension<Parts>) -> Result<String, ErrorData> {
        person(&request)?;
        sleep(DELIVERY).await;
        self.executed.note("await_delivery");
        Ok("All orders have arrived.".to_owned())
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
        tools.retain(|tool| tool.name == "whoami" || person.orders.is_some());
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
