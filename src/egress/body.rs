//! The body of an answer, and reading a whole one within bounds.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use thiserror::Error;

use super::{origin::Idle, own::OwnBody};

/// The body of an answer. To drop it before its end is to drop the request.
pub struct Body(Kind);

enum Kind {
    /// It comes over a connection of its own.
    Own(OwnBody),
    /// It comes over one that others use, too.
    Shared(Incoming),
}

impl Body {
    pub(super) fn own(body: Incoming, connection: Idle) -> Self {
        Self(Kind::Own(OwnBody::new(body, connection)))
    }

    pub(super) fn shared(body: Incoming) -> Self {
        Self(Kind::Shared(body))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Kind::Own(own) => own.poll_frame(cx),
            Kind::Shared(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Own(own) => own.is_end_stream(),
            Kind::Shared(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Own(own) => own.size_hint(),
            Kind::Shared(body) => body.size_hint(),
        }
    }
}

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
pub async fn read_capped(body: impl HttpBody<Data = Bytes>, max: usize) -> Result<Bytes, BodyError> {
    let mut body = std::pin::pin!(body);
    let announced = usize::try_from(body.size_hint().lower()).map_err(|_| BodyError::TooLarge)?;
    if announced > max {
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
            if joined.is_empty() {
                // To grow is to copy.
                joined.reserve(announced);
            }
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

    fn chunks(chunks: &[&'static str]) -> impl HttpBody<Data = Bytes> {
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
