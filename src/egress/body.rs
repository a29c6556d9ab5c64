//! Reading a whole body within bounds.

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use thiserror::Error;

/// Why a body is not read.
#[derive(Debug, Error)]
pub enum BodyError {
    /// It is larger than allowed.
    #[error("the body is too large")]
    TooLarge,
    /// The connection fails. The error has no URL.
    #[error("the body can't be read")]
    Transport(#[source] reqwest::Error),
}

/// Reads a body of at most `max` bytes. One that announces to be larger is not read at all.
///
/// # Errors
/// See [`BodyError`].
pub async fn read_capped(mut response: Response, max: usize) -> Result<Bytes, BodyError> {
    let announced = response.content_length().unwrap_or(0);
    if usize::try_from(announced).map_or(true, |announced| announced > max) {
        return Err(BodyError::TooLarge);
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| BodyError::Transport(e.without_url()))? {
        if chunk.len() > max - body.len() {
            return Err(BodyError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use reqwest::Body;

    use super::*;

    fn response(chunks: &[&'static str]) -> Response {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok::<_, std::io::Error>(*chunk)).collect();
        http::Response::new(Body::wrap_stream(stream::iter(chunks))).into()
    }

    #[tokio::test]
    async fn a_body_may_be_exactly_as_large_as_allowed() {
        assert_eq!(read_capped(response(&["abc", "de"]), 5).await.unwrap(), "abcde");
        assert!(matches!(read_capped(response(&["abc", "def"]), 5).await, Err(BodyError::TooLarge)));
    }

    #[tokio::test]
    async fn a_body_that_announces_too_much_is_refused() {
        let announced = || Response::from(http::Response::new(Body::from("abcdef")));
        assert_eq!(announced().content_length(), Some(6));
        assert!(matches!(read_capped(announced(), 5).await, Err(BodyError::TooLarge)));
        assert_eq!(read_capped(announced(), 6).await.unwrap(), "abcdef");
    }
}
