//! Fields of descriptions: written in the service's order, and read with what to write instead where they are wrong.

use std::{fmt::Display, time::Duration};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::document::Element;
use crate::{
    clock::Timestamp,
    servicebus::{BrokerError, EntityStatus, Forwarding, Times},
    topology::parse_duration,
    xml::element,
};

/// .NET's longest time, which stands for "for ever".
const FOR_EVER: &str = "P10675199DT2H48M5.4775807S";

/// A description that is being written, without the element around it.
#[derive(Default)]
pub(super) struct Fields(String);

impl Fields {
    pub(super) fn text(&mut self, name: &str, text: &str) -> &mut Self {
        element(&mut self.0, name, text);
        self
    }

    /// Nothing where there is none.
    pub(super) fn text_if_any(&mut self, name: &str, text: Option<&str>) -> &mut Self {
        if let Some(text) = text {
            self.text(name, text);
        }
        self
    }

    pub(super) fn number(&mut self, name: &str, number: impl Display) -> &mut Self {
        self.text(name, &number.to_string())
    }

    pub(super) fn truth(&mut self, name: &str, truth: bool) -> &mut Self {
        self.text(name, if truth { "true" } else { "false" })
    }

    pub(super) fn span(&mut self, name: &str, span: Duration) -> &mut Self {
        self.text(name, &duration(span))
    }

    pub(super) fn span_or_for_ever(&mut self, name: &str, span: Option<Duration>) -> &mut Self {
        match span {
            Some(span) => self.span(name, span),
            None => self.text(name, FOR_EVER),
        }
    }

    pub(super) fn times(&mut self, times: &Times) -> &mut Self {
        self.text("CreatedAt", &instant(times.created()))
            .text("UpdatedAt", &instant(times.updated()))
            .text("AccessedAt", &instant(times.accessed()))
    }

    /// XML as it is.
    pub(super) fn raw(&mut self, xml: &str) -> &mut Self {
        self.0.push_str(xml);
        self
    }

    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.0)
    }
}

/// A time, as the service writes it.
pub(super) fn instant(at: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.as_millis()) * 1_000_000)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// In days, hours, minutes and seconds, as the service writes it: clients hand it on as it stands.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let days = match seconds / 86_400 {
        0 => String::new(),
        days => format!("{days}D"),
    };
    let rest = Duration::new(seconds % 60, duration.subsec_nanos()).as_secs_f64();
    let mut time = String::new();
    for (amount, unit) in [((seconds % 86_400) / 3600, "H"), ((seconds % 3600) / 60, "M")] {
        if amount > 0 {
            time += &amount.to_string();
            time += unit;
        }
    }
    if rest > 0.0 || (days.is_empty() && time.is_empty()) {
        time += &rest.to_string();
        time += "S";
    }
    let t = if time.is_empty() { "" } else { "T" };
    format!("P{days}{t}{time}")
}

impl Element {
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.truth(name, false)
    }

    /// What is not given is the default.
    pub(super) fn truth(&self, name: &str, default: bool) -> bool {
        self.child(name)
            .map_or(default, |text| text.eq_ignore_ascii_case("true"))
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u32>, BrokerError> {
        let parse = |text: &str| text.parse().ok().filter(|number| *number > 0);
        let wrong = |text: &str| BrokerError::Malformed(format!("{name} must be a number from 1, not '{text}'."));
        let text = self.child(name);
        text.map(|text| parse(text).ok_or_else(|| wrong(text))).transpose()
    }

    /// `None` for what is not given, and for .NET's longest time, which clients give back with fewer digits than they
    /// got.
    pub(super) fn span(&self, name: &str) -> Result<Option<Duration>, BrokerError> {
        match self.child(name) {
            None => Ok(None),
            Some(text) => match parse_duration(text) {
                Some(time) if time.as_secs() > 10_000_000 * 86_400 => Ok(None),
                Some(time) => Ok(Some(time)),
                None => Err(BrokerError::Malformed(format!(
                    "{name} must be an ISO 8601 duration, not '{text}'."
                ))),
            },
        }
    }

    /// A time from `least` to `most`.
    pub(super) fn span_within(
        &self,
        name: &str,
        least: Duration,
        most: Duration,
    ) -> Result<Option<Duration>, BrokerError> {
        match self.span(name)? {
            Some(span) if !(least..=most).contains(&span) => Err(BrokerError::OutOfRange(format!(
                "{name} is {}; it must be from {} to {}.",
                duration(span),
                duration(least),
                duration(most)
            ))),
            span => Ok(span),
        }
    }

    pub(super) fn status(&self) -> Result<EntityStatus, BrokerError> {
        self.child("Status")
            .map_or(Ok(EntityStatus::Active), EntityStatus::parse)
    }

    pub(super) fn forwarding(&self) -> Forwarding {
        let address = |name| self.child(name).map(str::to_owned);
        Forwarding {
            to: address("ForwardTo"),
            dead_letters_to: address("ForwardDeadLetteredMessagesTo"),
        }
    }

    /// Refuses what is asked for and is not there.
    pub(super) fn refuse(&self, name: &str) -> Result<(), BrokerError> {
        if self.is_true(name) {
            return Err(BrokerError::NotSupported(format!("{name} (true)")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_its_largest_units() {
        for (seconds, written) in [
            (0.0, "PT0S"),
            (0.5, "PT0.5S"),
            (30.0, "PT30S"),
            (120.0, "PT2M"),
            (3600.0, "PT1H"),
            (5461.5, "PT1H31M1.5S"),
            (172_800.0, "P2D"),
            (90_000.0, "P1DT1H"),
        ] {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), written);
        }
    }

    #[test]
    fn an_instant_has_milliseconds_and_the_first_year_has_four_digits() {
        assert_eq!(
            instant(Timestamp::from_millis(1_577_836_800_250)),
            "2020-01-01T00:00:00.25Z"
        );
        assert_eq!(
            instant(Timestamp::from_millis(-62_135_596_800_000)),
            "0001-01-01T00:00:00Z"
        );
    }
}
