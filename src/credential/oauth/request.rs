//! The request for a token.

use bytes::Bytes;
use http::{HeaderValue, Response, header::CONTENT_TYPE};
use oauth2::{
    AuthType, ClientId, ClientSecret, HttpRequest, HttpResponse, RequestTokenError, Scope, TokenResponse,
    TokenUrl,
    basic::{BasicClient, BasicErrorResponse, BasicErrorResponseType, BasicTokenType},
};

use super::{
    super::{
        error::{Asked, Fault, SourceError},
        http::Http,
        token::Fetched,
    },
    ClientCredentials, Proof,
    metadata::AuthorizationServer,
};

const ASKED: Asked = Asked::TokenEndpoint;
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Asks an authorization server for a token.
pub async fn token(
    client: &ClientCredentials,
    server: &AuthorizationServer,
    resource: Option<String>,
) -> Result<Fetched, SourceError> {
    let mut asking = BasicClient::new(ClientId::new(client.client_id.clone()))
        .set_token_uri(TokenUrl::from_url(server.token_endpoint.clone()));
    let mut parameters = Vec::new();
    match &client.proof {
        Proof::Secret(secret) => {
            let secret = secret.ready().map(|secret| String::from_utf8_lossy(secret.as_bytes()).into_owned());
            asking = asking.set_client_secret(ClientSecret::new(secret.unwrap_or_default()));
            asking = asking.set_auth_type(auth_type(server)?);
        }
        Proof::PrivateKey(key) => {
            parameters.push(("client_assertion_type", ASSERTION_TYPE.to_owned()));
            parameters.push(("client_assertion", key.assertion(&client.client_id, &server.issuer)?));
        }
    }
    parameters.extend(resource.map(|resource| ("resource", resource)));
    let request = asking.exchange_client_credentials().add_scopes(client.scope.clone().map(Scope::new));
    let request =
        parameters.into_iter().fold(request, |request, (name, value)| request.add_extra_param(name, value));
    let send = |request| send(client.http.clone(), request);
    let answer = request.request_async(&send).await.map_err(refusal)?;
    if *answer.token_type() != BasicTokenType::Bearer {
        return Err(ASKED.failed(Fault::Unusable));
    }
    Ok(Fetched { token: answer.access_token().secret().clone(), life: answer.expires_in() })
}

/// How a secret is sent: by HTTP Basic authentication wherever that will do (RFC 6749 section 2.3.1).
fn auth_type(server: &AuthorizationServer) -> Result<AuthType, SourceError> {
    let Some(methods) = &server.token_endpoint_auth_methods_supported else { return Ok(AuthType::BasicAuth) };
    let takes = |method: &str| methods.iter().any(|supported| supported == method);
    if takes("client_secret_basic") {
        Ok(AuthType::BasicAuth)
    } else if takes("client_secret_post") {
        Ok(AuthType::RequestBody)
    } else {
        Err(ASKED.failed(Fault::NoAuthentication))
    }
}

async fn send(http: Http, request: HttpRequest) -> Result<HttpResponse, SourceError> {
    let answer = http.send(ASKED, request.map(Bytes::from)).await?;
    let status = answer.status();
    // A refusal is JSON; what else fails has no more to say than its status.
    let is_refusal = status.is_client_error() && is_json(&answer);
    if status.is_success() || is_refusal {
        Ok(answer.map(|body| body.to_vec()))
    } else {
        Err(ASKED.failed(Fault::Status(status.as_u16())))
    }
}

fn is_json(answer: &Response<Bytes>) -> bool {
    let content_type = answer.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    content_type.get(..16).is_some_and(|essence| essence.eq_ignore_ascii_case(b"application/json"))
}

fn refusal(error: RequestTokenError<SourceError, BasicErrorResponse>) -> SourceError {
    match error {
        RequestTokenError::Request(error) => error,
        RequestTokenError::ServerResponse(refusal) => ASKED.failed(Fault::Refused(code(refusal.error()))),
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => ASKED.failed(Fault::NotUnderstood),
    }
}

/// A code that we know, in our own words.
fn code(error: &BasicErrorResponseType) -> &'static str {
    match error {
        BasicErrorResponseType::InvalidClient => "invalid_client",
        BasicErrorResponseType::InvalidGrant => "invalid_grant",
        BasicErrorResponseType::InvalidRequest => "invalid_request",
        BasicErrorResponseType::InvalidScope => "invalid_scope",
        BasicErrorResponseType::UnauthorizedClient => "unauthorized_client",
        BasicErrorResponseType::UnsupportedGrantType => "unsupported_grant_type",
        BasicErrorResponseType::Extension(code) if code == "invalid_target" => "invalid_target",
        BasicErrorResponseType::Extension(_) => "for a reason of its own",
    }
}
