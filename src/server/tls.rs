//! TLS for gRPC, and handshakes that nobody can hold up.
//!
//! A handshake is a task of its own: what it computes does not keep connections from being accepted. There are at most
//! [`MAX_UNDER_WAY`] at a time; further connections wait in the listener's queue. Whoever takes longer than [`PROMPT`], as
//! one that connects and says nothing, needs one of [`MAX_SLOW`] places too, or is dropped: so at least the other half of
//! all places comes free again and again, however many are silent.

use std::{future, io, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt, TryStreamExt, future::Either as EitherStream};
use rustls::{ServerConfig, server::WebPkiClientVerifier, sign::SingleCertAndKey};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{either::Either, task::AbortOnDropHandle};
use tracing::debug;

use super::Tls;
use crate::tls::{self, Following, Parts};

#[cfg(test)]
mod tests;

/// The most handshakes at a time. Each may have the library hold back 64 KiB, which is 32 MiB together.
const MAX_UNDER_WAY: usize = 512;
/// How many of them may take longer than [`PROMPT`].
const MAX_SLOW: usize = MAX_UNDER_WAY / 2;
/// How long a handshake takes that is not slow: some round trips, and a key that computes for long.
const PROMPT: Duration = Duration::from_secs(1);
/// How long a handshake may take at all.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// What is spoken over TLS: gRPC is HTTP/2.
const ALPN: &[u8] = b"h2";

/// A connection, with TLS or without.
pub(super) type Connection<C> = Either<C, Box<TlsStream<C>>>;

/// Why a connection is not served.
#[derive(Debug, Error)]
enum Unserved {
    #[error("{0}")]
    Tls(#[from] io::Error),
    #[error("the client does not offer HTTP/2 (ALPN h2)")]
    NoHttp2,
    #[error("it took too long")]
    TimedOut,
    #[error("it took long, as did too many others")]
    Crowded,
}

/// The connections of a listener, as they can be served: where there is TLS, those whose handshake succeeds.
///
/// # Errors
/// TLS can't be set up.
pub(super) fn secured<C, E>(
    incoming: impl Stream<Item = Result<C, E>>,
    tls: Option<Tls>,
) -> Result<impl Stream<Item = Result<Connection<C>, E>>, rustls::Error>
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(Tls { identity, client_roots }) = tls else {
        return Ok(EitherStream::Left(incoming.map_ok(Either::Left)));
    };
    let configs = Following::new(Some(identity), client_roots, config)?;
    let slow = Arc::new(Semaphore::new(MAX_SLOW));
    let handshakes = incoming.map(move |next| {
        let handshake = next.map(|connection| handshake(connection, configs.current(), slow.clone()));
        async {
            match handshake {
                Ok(handshake) => outcome(AbortOnDropHandle::new(tokio::spawn(handshake)).await).map(Ok),
                Err(error) => Some(Err(error)),
            }
        }
    });
    let served = handshakes.buffer_unordered(MAX_UNDER_WAY).filter_map(future::ready);
    Ok(EitherStream::Right(served.map_ok(|stream| Either::Right(Box::new(stream)))))
}

/// The connection; a failure is told to those who look for it: anybody can have connections fail, and so fill a log.
fn outcome<C, J>(ended: Result<Result<TlsStream<C>, Unserved>, J>) -> Option<TlsStream<C>> {
    match ended.ok()? {
        Ok(stream) => Some(stream),
        Err(error) => {
            debug!(%error, "A TLS handshake failed");
            None
        }
    }
}

async fn handshake<C: AsyncRead + AsyncWrite + Unpin>(
    connection: C,
    config: Arc<ServerConfig>,
    slow: Arc<Semaphore>,
) -> Result<TlsStream<C>, Unserved> {
    let mut accepted = std::pin::pin!(accept(connection, config));
    if let Ok(prompt) = timeout(PROMPT, accepted.as_mut()).await {
        return prompt;
    }
    let _place = slow.try_acquire().map_err(|_| Unserved::Crowded)?;
    timeout(HANDSHAKE_TIMEOUT - PROMPT, accepted).await.unwrap_or(Err(Unserved::TimedOut))
}

async fn accept<C: AsyncRead + AsyncWrite + Unpin>(
    connection: C,
    config: Arc<ServerConfig>,
) -> Result<TlsStream<C>, Unserved> {
    let mut stream = TlsAcceptor::from(config).accept(connection).await?;
    // The library refuses a client that offers other protocols, but not one that offers none.
    if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
        let _ = stream.shutdown().await;
        return Err(Unserved::NoHttp2);
    }
    Ok(stream)
}

/// The configuration of this side. Where there are roots, a client without a certificate that one of them signed is
/// refused.
fn config(parts: Parts) -> Result<ServerConfig, rustls::Error> {
    let builder =
        ServerConfig::builder_with_provider(tls::provider()).with_safe_default_protocol_versions()?;
    let builder = match parts.roots {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, tls::provider()).build();
            let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let identity = parts.identity.ok_or(rustls::Error::NoCertificatesPresented)?;
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}
