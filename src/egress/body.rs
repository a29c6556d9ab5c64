//! Reading a whole body within bounds.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use thiserror::Error;

/// Why a body is not read.
#[derive(Debug, Error)]
pub enum BodyError {
    /// It is larger than allowed.
    #[error("the body is too large")]
    TooLarge,
    /// The connection fails.
    #[error("the body can't be read")]
    Transport,
}

/// Reads a body of at most `max` bytes. One that announces to be larger is not read at all.
///
/// # Errors
/// See [`BodyError`].
pub async fn read_capped(body: impl Body<Data = Bytes>, max: usize) -> Result<Bytes, BodyError> {
    let mut body = std::pin::pin!(body);
    if usize::try_from(body.size_hint().lower()).map_or(true, |announced| announced > max) {
        return Err(BodyError::TooLarge);
    }
    let mut read = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(|_| BodyError::Transport)?.into_data() else { continue };
        if chunk.len() > max - read.len() - joined.len() {
            return Err(BodyError::TooLarge);
        }
        // Most bodies are one chunk.
        if read.is_empty() && joined.is_empty() {
            read = chunk;
        } else {
            joined.extend_from_slice(&std::mem::take(&mut read));
            joined.extend_from_slice(&chunk);
        }
    }
    Ok(if joined.is_empty() { read } else { joined.freeze() })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::*;

    fn chunks(chunks: &[&'static str]) -> impl Body<Data = Bytes> {
        let frames: Vec<_> =
            chunks.iter().map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::from(*chunk)))).collect();
        StreamBody::new(stream::iter(frames))
    }

    #[tokio::test]
    async fn a_body_may_be_exactly_as_large_as_allowed() {
        assert_eq!(read_capped(chunks(&["abc", "de"]), 5).await.unwrap(), "abcde");
        assert_eq!(read_capped(chunks(&["a", "", "b", "c"]), 5).await.unwrap(), "abc");
        assert_eq!(read_capped(chunks(&[]), 5).await.unwrap(), "");
        assert!(matches!(read_capped(chunks(&["abc", "def"]), 5).await, Err(BodyError::TooLarge)));
        assert!(matches!(read_capped(chunks(&["a", "b", "c"]), 2).await, Err(BodyError::TooLarge)));
    }

    #[tokio::test]
    async fn a_body_that_announces_too_much_is_refused() {
        let announced = || Full::new(Bytes::from("abcdef"));
        assert_eq!(announced().size_hint().exact(), Some(6));
        assert!(matches!(read_capped(announced(), 5).await, Err(BodyError::TooLarge)));
        assert_eq!(read_capped(announced(), 6).await.unwrap(), "abcdef");
    }
}
