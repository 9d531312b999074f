//! ISO 8601 durations, as Microsoft's configuration files write them: `PT30S`, `PT1M`, `P14D`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

/// A duration in a configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IsoDuration(pub(super) Duration);

impl<'de> Deserialize<'de> for IsoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map(Self).ok_or_else(|| {
            D::Error::custom(format_args!(
                "`{text}` is not a duration; write ISO 8601 with days, hours, minutes and seconds, \
                 such as PT30S, PT1M or P14D"
            ))
        })
    }
}

/// Months and years have no fixed length, so they are not durations here.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let (days, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((days, time)) if !time.is_empty() => (days, time),
        Some(_) => return None,
        None => (text.strip_prefix('P')?, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let mut seconds = sum(days, &[('D', 86_400.0)])?;
    seconds += sum(time, &[('H', 3600.0), ('M', 60.0), ('S', 1.0)])?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Adds up numbers with the given units, each at most once and in this order.
fn sum(mut text: &str, units: &[(char, f64)]) -> Option<f64> {
    let mut units = units.iter();
    let mut total = 0.0;
    while !text.is_empty() {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, rest) = text.split_at(end);
        let unit = rest.chars().next()?;
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        total += number.parse::<f64>().ok()? * factor;
        text = &rest[unit.len_utf8()..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_iso_8601_has_them() {
        let cases = [
            ("PT5S", 5.0),
            ("PT1M", 60.0),
            ("PT1H", 3600.0),
            ("PT1H30M", 5400.0),
            ("P14D", 1_209_600.0),
            ("P1DT2H3M4.5S", 93_784.5),
            ("PT0S", 0.0),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_fixed_duration_is_refused() {
        for text in [
            "", "P", "PT", "5", "PT5", "5S", "P1M", "P1Y", "PT1M1H", "PT-5S", "P1DT", "é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
