//! Reads along on the incoming byte stream.
//!
//! On a peek-lock link the receiver settles second (AMQP 1.0 section 2.6.12): it sends an unsettled
//! disposition and the broker answers with a settled one that carries the real outcome, which may be
//! "the lock was lost". `fe2o3-amqp` takes that answer in and tells nobody, so a client built on it alone
//! could not know whether a `complete` worked. The official clients wait for the answer, and so do we: by
//! watching the frames go past. It keeps the answer to a drain to itself as well. `attach`, `flow`, `detach` and
//! `disposition` frames are looked into for that.
//!
//! All values that come are followed here as well, messages in their pieces, and those spoilt that the engine
//! must not decode: see [`nesting`](super::nesting).

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::nesting::Nesting;
use super::settlements::Settlements;
use super::transfer::{ListEnd, Transfer, end_of_list};

/// Descriptor of the `attach` performative (AMQP 1.0 section 2.7.3).
pub(crate) const ATTACH: u8 = 0x12;
/// Descriptor of the `flow` performative (AMQP 1.0 section 2.7.4).
pub(crate) const FLOW: u8 = 0x13;
/// Descriptor of the `transfer` performative (AMQP 1.0 section 2.7.5).
const TRANSFER: u8 = 0x14;
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
            parser.feed(&mut buf.filled_mut()[before..], |channel, code, body| {
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
    /// Bytes of the current frame behind that.
    rest: usize,
    /// The values of the current frame: its performative's, then its message's.
    values: Nesting,
    /// Whose next piece the current frame's message is continued by.
    continued: Option<(Link, Option<u32>)>,
    /// Messages that came in part, with their delivery ids.
    unfinished: HashMap<Link, (Option<u32>, Nesting)>,
}

/// A channel and a handle in it.
type Link = (u16, u32);

/// What the bytes collected so far say about the current frame.
enum Verdict {
    /// More bytes decide: collect up to this many.
    Need(usize),
    /// Nothing for us; this many bytes follow.
    Skip(usize),
    /// Complete and interesting: channel, descriptor, where its body starts.
    Frame(u16, u8, usize),
    /// The performative of a transfer is complete: channel, where its list starts, how many bytes follow.
    Transfer(u16, usize, usize),
}

impl FrameParser {
    /// Calls `on_frame` with channel, descriptor code and body of every interesting frame.
    fn feed(&mut self, mut bytes: &mut [u8], mut on_frame: impl FnMut(u16, u8, &[u8])) {
        loop {
            if self.rest > 0 {
                let (piece, others) = bytes.split_at_mut(self.rest.min(bytes.len()));
                self.values.spoil(piece);
                self.rest -= piece.len();
                bytes = others;
                if self.rest > 0 {
                    return;
                }
                self.end();
            }
            // The last byte may have completed a frame: that does not wait for the next one.
            match self.verdict() {
                Verdict::Need(_) if bytes.is_empty() => return,
                Verdict::Need(target) => {
                    let (piece, others) = bytes.split_at_mut((target - self.head.len()).min(bytes.len()));
                    let before = self.body().saturating_sub(self.head.len()).min(piece.len());
                    self.values.spoil(&mut piece[before..]);
                    self.head.extend_from_slice(piece);
                    bytes = others;
                }
                verdict => self.act(&verdict, &mut on_frame),
            }
        }
    }

    fn act(&mut self, verdict: &Verdict, on_frame: &mut impl FnMut(u16, u8, &[u8])) {
        let rest = match *verdict {
            Verdict::Need(_) => return,
            Verdict::Skip(rest) => rest,
            Verdict::Frame(channel, code, start) => {
                on_frame(channel, code, &self.head[start..]);
                0
            }
            Verdict::Transfer(channel, list, rest) => {
                self.transfer(channel, list);
                rest
            }
        };
        self.head.clear();
        self.rest = rest;
        if rest == 0 {
            self.end();
        }
    }

    /// What follows is a message, or the next piece of one.
    fn transfer(&mut self, channel: u16, list: usize) {
        let Some(transfer) = Transfer::read(&self.head[list..]) else {
            return;
        };
        let (link, id) = ((channel, transfer.handle), transfer.delivery_id);
        let unfinished = self.unfinished.remove(&link);
        let (id, values) = match unfinished.filter(|(begun, _)| id.is_none() || id == *begun) {
            Some((id, values)) => (id, Some(values)),
            None => (id, None),
        };
        self.values.go_on(values);
        self.continued = transfer.more.then_some((link, id));
    }

    /// The current frame has ended.
    fn end(&mut self) {
        if let Some((link, id)) = self.continued.take() {
            self.unfinished.insert(link, (id, std::mem::take(&mut self.values)));
        }
        self.values.reset();
    }

    /// Where the frame's values start, as far as that is known.
    fn body(&self) -> usize {
        match self.head.get(4) {
            Some(offset) if self.head.len() >= HEADER => usize::from(*offset) * 4,
            _ => usize::MAX,
        }
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
        let body = self.body();
        let is_amqp = head[5] == 0;
        let channel = u16::from_be_bytes([head[6], head[7]]);
        if !is_amqp || body < HEADER || size <= body {
            return Verdict::Skip(rest);
        }
        // A described list: 0x00, then the descriptor as a one-byte or an eight-byte ulong.
        let list = if head.get(body + 1) == Some(&0x80) {
            body + 10
        } else {
            body + 3
        };
        let Some(code) = self.descriptor(body) else {
            return if head.len() >= list || size < list {
                Verdict::Skip(rest)
            } else {
                Verdict::Need(list)
            };
        };
        let end = match code {
            TRANSFER => match end_of_list(&head[list..]) {
                ListEnd::Need(more) => list + more,
                ListEnd::At(end) => list + end,
                ListEnd::None => return Verdict::Skip(rest),
            },
            ATTACH | FLOW | DISPOSITION | DETACH => size,
            _ => return Verdict::Skip(rest),
        };
        if end > LARGEST || end > size {
            return Verdict::Skip(rest);
        }
        match code {
            _ if head.len() < end => Verdict::Need(end),
            TRANSFER => Verdict::Transfer(channel, list, rest),
            _ => Verdict::Frame(channel, code, body),
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
    use super::super::nesting::DEEPEST;
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
        let long_descriptor = [0, 0x80, 0, 0, 0, 0, 0, 0, 0, DISPOSITION, 0xc0, 2, 1, 0x40];
        let mut transfer = vec![0, 0x53, TRANSFER, 0xc0, 2, 1, 0x43];
        transfer.extend(std::iter::repeat_n(0x40, 500));
        let bytes = [
            b"AMQP\x03\x01\x00\x00".to_vec(),
            frame(1, 0, &[0, 0x53, 0x44, 0x45]),
            b"AMQP\x00\x01\x00\x00".to_vec(),
            frame(0, 3, &[0, 0x53, ATTACH, 0xc0, 2, 1, 0x40]),
            frame(0, 0, &[]),
            frame(0, 3, &transfer),
            frame(0, 4, &[0, 0x53, DISPOSITION, 0x45]),
            frame(0, 5, &long_descriptor),
        ]
        .concat();
        let expected = vec![
            (3, ATTACH, vec![0, 0x53, ATTACH, 0xc0, 2, 1, 0x40]),
            (4, DISPOSITION, vec![0, 0x53, DISPOSITION, 0x45]),
            (5, DISPOSITION, long_descriptor.to_vec()),
        ];
        (bytes, expected)
    }

    /// What comes through of bytes in such pieces, and what was found in them.
    fn passed(bytes: &[u8], cuts: &[usize]) -> (Vec<u8>, Vec<Found>) {
        let (mut parser, mut passed, mut found) = (FrameParser::default(), bytes.to_vec(), Vec::new());
        let mut rest = passed.as_mut_slice();
        for cut in cuts.iter().copied().chain([usize::MAX]) {
            let (piece, tail) = rest.split_at_mut(cut.min(rest.len()));
            parser.feed(piece, |channel, code, body| found.push((channel, code, body.to_vec())));
            rest = tail;
        }
        (passed, found)
    }

    /// A transfer of handle 1: its delivery id, whether others follow, its part of the message.
    fn transfer(channel: u16, id: u8, more: bool, part: &[u8]) -> Vec<u8> {
        let more = if more { 0x41 } else { 0x42 };
        let fields = [0xc0, 11, 6, 0x52, 1, 0x52, id, 0xa0, 1, 9, 0x43, 0x40, more];
        frame(0, channel, &[&[0, 0x53, TRANSFER][..], &fields, part].concat())
    }

    proptest! {
        #[test]
        fn messages_are_followed_through_their_pieces(
            cuts in proptest::collection::vec(1usize..60, 1..60),
            sizes in proptest::collection::vec(1usize..40, 1..20),
        ) {
            // Lists in lists, a list32 each, and something harmless on another channel between the pieces.
            let too_deep = [[0xd0, 0, 0, 0, 5, 0, 0, 0, 1].repeat(100), vec![0x40]].concat();
            let harmless = [0, 0x53, 0x77, 0xa1, 2, b'o', b'k'];
            let mut sent = Vec::new();
            let mut rest = too_deep.as_slice();
            let mut sizes = sizes.into_iter().cycle();
            while !rest.is_empty() {
                let (part, others) = rest.split_at(sizes.next().unwrap().min(rest.len()));
                sent.extend(transfer(1, 7, !others.is_empty(), part));
                sent.extend(transfer(2, 3, false, &harmless));
                rest = others;
            }
            let (received, _) = passed(&sent, &cuts);
            let differing = received.iter().zip(&sent).filter(|(received, sent)| received != sent);
            // All from the end of the first head that is too deep, and nothing of anything else.
            let fit = 9 * DEEPEST + 8;
            prop_assert_eq!(differing.count(), too_deep.len() - fit);
            // The link's next message is another one.
            let next = [sent, transfer(1, 8, false, &harmless)].concat();
            let (received, _) = passed(&next, &cuts);
            prop_assert!(received.ends_with(&transfer(1, 8, false, &harmless)));
        }

        #[test]
        fn a_message_that_ends_too_soon_does_not_touch_the_next_one(cuts in proptest::collection::vec(1usize..40, 1..60)) {
            let sent = [transfer(1, 7, true, &[0xd0, 0, 0]), transfer(1, 8, false, &[0, 0x53, 0x77, 0x40])].concat();
            prop_assert_eq!(passed(&sent, &cuts).0, sent);
        }

        #[test]
        fn whatever_bytes_come_nothing_breaks(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            let settlements = Settlements::default();
            let mut parser = FrameParser::default();
            parser.feed(&mut bytes, |channel, code, body| settlements.on_frame(channel, code, body));
            for code in [ATTACH, FLOW, DISPOSITION, DETACH] {
                let body = [&[0, 0x53, code], bytes.as_slice()].concat();
                settlements.on_frame(0, code, &body);
            }
        }

        #[test]
        fn frames_are_found_however_the_stream_is_cut(cuts in proptest::collection::vec(1usize..40, 1..60)) {
            let (bytes, expected) = conversation();
            let (passed, found) = passed(&bytes, &cuts);
            prop_assert_eq!(found, expected);
            prop_assert_eq!(passed, bytes);
        }
    }
}
