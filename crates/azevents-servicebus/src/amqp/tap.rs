//! Reads along on the incoming byte stream.
//!
//! On a peek-lock link the receiver settles second (AMQP 1.0 section 2.6.12): it sends an unsettled
//! disposition and the broker answers with a settled one that carries the real outcome, which may be
//! "the lock was lost". `fe2o3-amqp` takes that answer in and tells nobody, so a client built on it alone
//! could not know whether a `complete` worked. The official clients wait for the answer, and so do we: by
//! watching the frames go past. It keeps the answer to a drain to itself as well. Only `attach`, `flow` and
//! `disposition` frames are looked into, all others are skipped by their size, so a message body costs
//! nothing here.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::settlements::Settlements;

/// Descriptor of the `attach` performative (AMQP 1.0 section 2.7.3).
pub(crate) const ATTACH: u8 = 0x12;
/// Descriptor of the `flow` performative (AMQP 1.0 section 2.7.4).
pub(crate) const FLOW: u8 = 0x13;
/// Descriptor of the `disposition` performative (AMQP 1.0 section 2.7.6).
pub(crate) const DISPOSITION: u8 = 0x15;
/// Descriptor of `detach` (AMQP 1.0 section 2.7.7).
pub(crate) const DETACH: u8 = 0x16;
/// Frame header and protocol header are both eight bytes (AMQP 1.0 sections 2.2 and 2.3.1).
const HEADER: usize = 8;
/// A performative we look into is small; anything larger is not one of ours.
const LARGEST: usize = 64 * 1024;

/// A byte stream whose incoming frames are shown to [`Settlements`].
pub(crate) struct Tapped<S> {
    stream: S,
    parser: FrameParser,
    settlements: Arc<Settlements>,
}

impl<S> Tapped<S> {
    pub(crate) fn new(stream: S, settlements: Arc<Settlements>) -> Self {
        Self {
            stream,
            parser: FrameParser::default(),
            settlements,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tapped<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = &poll {
            let Self {
                parser, settlements, ..
            } = &mut *self;
            parser.feed(&buf.filled()[before..], |channel, code, body| {
                settlements.on_frame(channel, code, body);
            });
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tapped<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S> fmt::Debug for Tapped<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tapped")
    }
}

/// Finds frames in a stream that arrives in arbitrary pieces.
#[derive(Debug, Default)]
struct FrameParser {
    /// The start of the current frame, as far as it is of interest.
    head: Vec<u8>,
    /// Bytes of the current frame that are of no interest.
    skip: usize,
}

/// What the bytes collected so far say about the current frame.
enum Verdict {
    /// More bytes decide: collect up to this many.
    Need(usize),
    /// Nothing for us; this many bytes follow.
    Skip(usize),
    /// Complete and interesting: channel, descriptor, where its body starts.
    Frame(u16, u8, usize),
}

impl FrameParser {
    /// Calls `on_frame` with channel, descriptor code and body of every interesting frame.
    fn feed(&mut self, mut bytes: &[u8], mut on_frame: impl FnMut(u16, u8, &[u8])) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            match self.verdict() {
                Verdict::Need(target) => {
                    let taken = (target - self.head.len()).min(bytes.len());
                    self.head.extend_from_slice(&bytes[..taken]);
                    bytes = &bytes[taken..];
                }
                verdict => self.act(&verdict, &mut on_frame),
            }
        }
        // The last byte may have completed a frame: do not wait for the next one to say so.
        loop {
            match self.verdict() {
                Verdict::Need(_) => return,
                verdict => self.act(&verdict, &mut on_frame),
            }
        }
    }

    fn act(&mut self, verdict: &Verdict, on_frame: &mut impl FnMut(u16, u8, &[u8])) {
        match *verdict {
            Verdict::Need(_) => return,
            Verdict::Skip(rest) => self.skip = rest,
            Verdict::Frame(channel, code, start) => on_frame(channel, code, &self.head[start..]),
        }
        self.head.clear();
    }

    fn verdict(&self) -> Verdict {
        let head = &self.head;
        if head.len() < HEADER {
            return Verdict::Need(HEADER);
        }
        if head.starts_with(b"AMQP") {
            return Verdict::Skip(0);
        }
        let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let rest = size.saturating_sub(head.len());
        let body = usize::from(head[4]) * 4;
        let is_amqp = head[5] == 0;
        let channel = u16::from_be_bytes([head[6], head[7]]);
        if !is_amqp || body < HEADER || size <= body {
            return Verdict::Skip(rest);
        }
        // A described list: 0x00, then the descriptor as a one-byte or an eight-byte ulong.
        let Some(code) = self.descriptor(body) else {
            let target = if head.get(body + 1) == Some(&0x80) {
                body + 10
            } else {
                body + 3
            };
            return if head.len() >= target || size < target {
                Verdict::Skip(rest)
            } else {
                Verdict::Need(target)
            };
        };
        if !matches!(code, ATTACH | FLOW | DISPOSITION | DETACH) || size > LARGEST {
            return Verdict::Skip(rest);
        }
        if head.len() < size {
            Verdict::Need(size)
        } else {
            Verdict::Frame(channel, code, body)
        }
    }

    fn descriptor(&self, body: usize) -> Option<u8> {
        match self.head.get(body..)? {
            [0, 0x53, code, ..] | [0, 0x80, 0, 0, 0, 0, 0, 0, 0, code, ..] => Some(*code),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, channel: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(body.len() + HEADER).unwrap().to_be_bytes().to_vec();
        bytes.extend([2, kind]);
        bytes.extend(channel.to_be_bytes());
        bytes.extend(body);
        bytes
    }

    /// Channel, descriptor and body of a frame.
    type Found = (u16, u8, Vec<u8>);

    /// A conversation: protocol headers, SASL, heartbeat, transfers and what we look for.
    fn conversation() -> (Vec<u8>, Vec<Found>) {
        let long_descriptor = [0, 0x80, 0, 0, 0, 0, 0, 0, 0, DISPOSITION, 9, 9];
        let mut transfer = vec![0, 0x53, 0x14];
        transfer.extend(std::iter::repeat_n(0x15, 500));
        let bytes = [
            b"AMQP\x03\x01\x00\x00".to_vec(),
            frame(1, 0, &[0, 0x53, 0x44, 1]),
            b"AMQP\x00\x01\x00\x00".to_vec(),
            frame(0, 3, &[0, 0x53, ATTACH, 1, 2, 3]),
            frame(0, 0, &[]),
            frame(0, 3, &transfer),
            frame(0, 4, &[0, 0x53, DISPOSITION, 7]),
            frame(0, 5, &long_descriptor),
        ]
        .concat();
        let expected = vec![
            (3, ATTACH, vec![0, 0x53, ATTACH, 1, 2, 3]),
            (4, DISPOSITION, vec![0, 0x53, DISPOSITION, 7]),
            (5, DISPOSITION, long_descriptor.to_vec()),
        ];
        (bytes, expected)
    }

    proptest! {
        #[test]
        fn whatever_bytes_come_nothing_breaks(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            let settlements = Settlements::default();
            let mut parser = FrameParser::default();
            parser.feed(&bytes, |channel, code, body| settlements.on_frame(channel, code, body));
            for code in [ATTACH, FLOW, DISPOSITION, DETACH] {
                let body = [&[0, 0x53, code], bytes.as_slice()].concat();
                settlements.on_frame(0, code, &body);
            }
        }

        #[test]
        fn frames_are_found_however_the_stream_is_cut(cuts in proptest::collection::vec(1usize..40, 1..60)) {
            let (bytes, expected) = conversation();
            let mut parser = FrameParser::default();
            let mut found = Vec::new();
            let mut rest = bytes.as_slice();
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (piece, tail) = rest.split_at(cut.min(rest.len()));
                parser.feed(piece, |channel, code, body| found.push((channel, code, body.to_vec())));
                rest = tail;
            }
            prop_assert_eq!(found, expected);
        }
    }
}
