//! Dead letters on their way back: what is kept, in the order in which it can be sent again.

use time::OffsetDateTime;

use crate::dead_letter::{
    DEAD_LETTER_DESCRIPTION, DEAD_LETTER_REASON, DeadLetter, PARKED_OFFSET, PARKED_SEQUENCE_NUMBER, PARKED_SOURCE,
    RETRY_COUNT,
};
use crate::failures::{self, Failures};
use crate::message::Message;
use crate::version::Version;

/// What a place of dead letters that holds messages only writes on them, and Service Bus on its own.
const MARKS: [&str; 8] = [
    RETRY_COUNT,
    PARKED_SOURCE,
    PARKED_SEQUENCE_NUMBER,
    PARKED_OFFSET,
    DEAD_LETTER_REASON,
    DEAD_LETTER_DESCRIPTION,
    "DeadLetterReason",
    "DeadLetterErrorDescription",
];

/// A message that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The message, with the marks of parking in its headers.
    pub message: Message,
    /// Why it was set aside.
    pub why: DeadLetter,
    /// When, where that is known.
    pub at: Option<OffsetDateTime>,
}

impl Parked {
    /// A dead letter that says in its headers why it was set aside ([`DeadLetter::mark`]).
    pub fn marked(message: Message, at: Option<OffsetDateTime>) -> Self {
        let header = |name| message.headers.get(name).cloned().unwrap_or_default();
        let why = DeadLetter::new(header(DEAD_LETTER_REASON), header(DEAD_LETTER_DESCRIPTION))
            .after(Failures::of(&message.headers).unwrap_or_default());
        Self { message, why, at }
    }

    /// Sorts letters so that those of one key can be sent again one after another: as they lay in their source, else
    /// by their version in their stream, else by when they were set aside.
    pub fn sort(letters: &mut [Self]) {
        letters.sort_by(|a, b| a.place().cmp(&b.place()));
    }

    fn place(&self) -> (Option<&str>, Option<u64>, u64, Option<OffsetDateTime>) {
        let header = |name| self.message.headers.get(name);
        let number = |name| header(name).and_then(|text: &String| text.parse::<u64>().ok());
        (
            header(PARKED_SOURCE).map(String::as_str),
            number(PARKED_SEQUENCE_NUMBER).or_else(|| number(PARKED_OFFSET)),
            self.message.version().map_or(0, Version::get),
            self.at,
        )
    }
}

/// Takes the marks of parking off a message that is to be sent again.
pub fn unmark(message: &mut Message) {
    for mark in MARKS.iter().chain(&failures::HEADERS) {
        message.headers.remove(*mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::HandlerError;

    fn letter(id: &str, headers: &[(&str, &str)], second: i64) -> Parked {
        let message = Message {
            id: id.into(),
            key: "order-1".into(),
            event_type: String::new(),
            content_type: String::new(),
            body: bytes::Bytes::new(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let at = OffsetDateTime::from_unix_timestamp(second).unwrap();
        Parked::marked(message, Some(at))
    }

    #[test]
    fn letters_are_sorted_as_they_lay_whatever_the_clocks_said() {
        let source = (PARKED_SOURCE, "eventhub/orders/billing/3");
        let mut letters = [
            letter("c", &[source, (PARKED_SEQUENCE_NUMBER, "100")], 1),
            letter("a", &[source, (PARKED_SEQUENCE_NUMBER, "9")], 3),
            letter("b", &[source, (PARKED_SEQUENCE_NUMBER, "20")], 2),
        ];
        Parked::sort(&mut letters);
        assert_eq!(
            letters.each_ref().map(|letter| letter.message.id.as_str()),
            ["a", "b", "c"]
        );
        let mut letters = [
            letter("b", &[("azevents-version", "10")], 1),
            letter("a", &[("azevents-version", "9")], 2),
        ];
        Parked::sort(&mut letters);
        assert_eq!(letters[0].message.id, "a");
    }

    #[test]
    fn a_message_that_was_marked_is_as_it_was_before_once_it_is_unmarked() {
        let mut before = letter("a", &[("tenant", "acme")], 0).message;
        let mut failures = Failures::default();
        failures.record("billing", &HandlerError::transient("not today"));
        let why = DeadLetter::new("Poison", "cannot be handled").after(failures);
        let mut marked = why.mark(&before);
        assert_eq!(Parked::marked(marked.clone(), None).why, why);
        unmark(&mut marked);
        assert_eq!(marked, before);
        unmark(&mut before);
        assert_eq!(marked, before);
    }
}
