//! Reads the bodies of requests: not more than makes sense, and not from clients that have gone quiet.

use std::{fmt, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Limited};
use hyper::body::Body;

/// How long a client may say nothing in the middle of a body. What it has sent is in memory until then.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no body.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It has more than this many bytes.
    TooLarge(usize),
    /// Nothing came for so long.
    Stalled(Duration),
    /// The connection failed, or the client did.
    Broken(String),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(most) => write!(f, "The request's body has more than {most} bytes."),
            Self::Stalled(patience) => write!(
                f,
                "Nothing came of the request's body for {} seconds.",
                patience.as_secs()
            ),
            Self::Broken(why) => write!(f, "The request's body ended early: {why}"),
        }
    }
}

/// All of a body, if it has at most `most` bytes.
pub(crate) async fn read_body<B>(body: B, most: usize) -> Result<Bytes, Unread>
where
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
{
    let mut body = Limited::new(body, most);
    let (mut first, mut joined) = (Bytes::new(), BytesMut::new());
    loop {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await;
        let mut data = match frame.map_err(|_| Unread::Stalled(PATIENCE))? {
            None => break,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(mut data) => data.copy_to_bytes(data.remaining()),
                Err(_) => continue, // trailers
            },
            Some(Err(error)) if error.is::<http_body_util::LengthLimitError>() => return Err(Unread::TooLarge(most)),
            Some(Err(error)) => return Err(Unread::Broken(error.to_string())),
        };
        if first.is_empty() && joined.is_empty() {
            std::mem::swap(&mut first, &mut data);
        } else {
            // Most bodies come in one piece, which needs no copy.
            joined.extend_from_slice(&std::mem::take(&mut first));
            joined.extend_from_slice(&data);
        }
    }
    Ok(if first.is_empty() { joined.freeze() } else { first })
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    type Piece = Result<Frame<Bytes>, std::io::Error>;

    fn pieces(sizes: &[usize]) -> impl futures::Stream<Item = Piece> + use<> {
        let pieces: Vec<Piece> = sizes
            .iter()
            .map(|size| Ok(Frame::data(vec![7; *size].into())))
            .collect();
        stream::iter(pieces)
    }

    #[tokio::test]
    async fn a_body_is_read_whole_and_not_beyond_its_limit() {
        for sizes in [&[][..], &[5], &[0, 3], &[2, 0, 3], &[1, 1, 1]] {
            let body = read_body(StreamBody::new(pieces(sizes)), 5).await.expect("it fits");
            assert_eq!(body, vec![7; sizes.iter().sum()]);
        }
        let refused = read_body(StreamBody::new(pieces(&[3, 3])), 5).await;
        assert!(matches!(refused, Err(Unread::TooLarge(5))), "{refused:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_given_up() {
        use futures::StreamExt;
        let stalled = pieces(&[3]).chain(stream::pending());
        let refused = read_body(StreamBody::new(stalled), 5).await;
        assert!(matches!(refused, Err(Unread::Stalled(_))), "{refused:?}");
    }
}
