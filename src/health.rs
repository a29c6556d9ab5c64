//! Asks a running service how it is, by `grpc.health.v1.Health/Check`: for probes where there is no shell and no other
//! client, as in the service's own image.

use std::{error::Error as StdError, time::Duration};

use http::Uri;
use rustls::{AlertDescription, CertificateError, Error as TlsError, pki_types::ServerName};
use thiserror::Error;
use tokio::time::timeout;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tower::{Service, service_fn};

use crate::egress::{self, Route};

/// Whom to ask, and about what.
pub struct Question {
    /// Where gRPC is served: `http` or `https`, a host and a port.
    pub target: Uri,
    /// Whom to believe and who to be, where the target is `https`. A proxy is not asked.
    pub route: Route,
    /// The name that the service's certificate is for, if it is not the target's host.
    pub server_name: Option<ServerName<'static>>,
    /// The gRPC service that is asked about; empty: the whole process.
    pub service: String,
    /// The longest time for all of it: to connect, to ask and to be answered.
    pub timeout: Duration,
}

/// Why a service is not healthy, or why nobody knows. Each goes on a sentence that begins with the target.
#[derive(Debug, Error)]
pub enum Error {
    /// TLS can't be set up, or the target is not one.
    #[error("can't be asked: {0}")]
    Egress(#[from] egress::Error),
    /// There is no connection.
    #[error("can't be reached: {0}")]
    Unreachable(String, Option<Suspicion>),
    /// The call fails.
    #[error("does not tell its health: {0}")]
    Failed(String, Option<Suspicion>),
    /// It was not answered in time.
    #[error("did not answer within {0:?}")]
    TimedOut(Duration),
    /// There is no such service.
    #[error("knows no service {0:?}")]
    UnknownService(String),
    /// It takes no calls: it shuts down.
    #[error("is {0}")]
    NotServing(&'static str),
}

/// What may be wrong with the question, where both sides do not come to speak with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// It was asked in plain text, and serves TLS.
    ServesTls,
    /// It was asked over TLS, and serves plain text.
    ServesPlainText,
    /// Its certificate is of an authority that is not believed.
    UnknownAuthority,
    /// Its certificate is for another name.
    OtherName,
    /// It takes only those who show a certificate.
    WantsCertificate,
}

impl Error {
    /// What may be wrong with the question.
    pub fn suspicion(&self) -> Option<Suspicion> {
        match self {
            Self::Unreachable(_, suspicion) | Self::Failed(_, suspicion) => *suspicion,
            Self::Egress(_) | Self::TimedOut(_) | Self::UnknownService(_) | Self::NotServing(_) => None,
        }
    }
}

/// Asks. It is well if the service is `SERVING`.
///
/// # Errors
/// It is not, or can't be asked.
pub async fn check(question: Question) -> Result<(), Error> {
    let limit = question.timeout;
    timeout(limit, ask(question)).await.unwrap_or(Err(Error::TimedOut(limit)))
}

async fn ask(question: Question) -> Result<(), Error> {
    let Question { target, route, server_name, service, .. } = question;
    // Whose connection ends for no reason that is told: who serves TLS ends one that begins with anything else, and an
    // alert about a certificate may be lost with the connection.
    let unsaid = match (target.scheme_str(), &route.identity) {
        (Some("http"), _) => Some(Suspicion::ServesTls),
        (_, None) => Some(Suspicion::WantsCertificate),
        (_, Some(_)) => None,
    };
    let channel = connect(target, route, server_name).await?;
    let request = HealthCheckRequest { service: service.clone() };
    match HealthClient::new(channel).check(request).await {
        Ok(answer) => match answer.into_inner().status() {
            ServingStatus::Serving => Ok(()),
            other => Err(Error::NotServing(other.as_str_name())),
        },
        Err(status) if status.code() == Code::NotFound => Err(Error::UnknownService(service)),
        Err(status) => Err(match status.source() {
            // It is the transport's, which says no more than that; what came before it does.
            Some(transport) => Error::Failed(
                causes(transport.source().unwrap_or(transport)),
                suspicion(transport).or(unsaid),
            ),
            None => Error::Failed(format!("{:?}: {}", status.code(), status.message()), None),
        }),
    }
}

async fn connect(
    target: Uri,
    route: Route,
    server_name: Option<ServerName<'static>>,
) -> Result<Channel, Error> {
    let mut connector = egress::connector(route, server_name)?;
    // TLS is the connector's: tonic is told of none, or it would look for its own.
    let endpoint = Endpoint::from(Uri::from_static("http://target")).origin(target.clone());
    let connected = endpoint.connect_with_connector(service_fn(move |_| connector.call(target.clone())));
    connected.await.map_err(|error| {
        let why = error.source().map_or_else(|| error.to_string(), causes);
        Error::Unreachable(why, suspicion(&error))
    })
}

/// What an error of TLS tells of the question.
fn suspicion(error: &(dyn StdError + 'static)) -> Option<Suspicion> {
    match chain(error).find_map(egress::tls_error)? {
        TlsError::InvalidMessage(_) => Some(Suspicion::ServesPlainText),
        // Another authority may have the name of one that is believed: then it is the signature that is wrong.
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            Some(Suspicion::UnknownAuthority)
        }
        TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Some(Suspicion::OtherName),
        TlsError::AlertReceived(AlertDescription::CertificateRequired) => Some(Suspicion::WantsCertificate),
        _ => None,
    }
}

/// An error and what it came of.
fn chain<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// An error and what it came of, each said once.
fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut said = Vec::<String>::new();
    for text in chain(error).map(ToString::to_string) {
        if !said.iter().any(|before| before.contains(&text)) {
            said.push(text);
        }
    }
    said.join(": ")
}
