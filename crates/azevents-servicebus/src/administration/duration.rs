//! Durations of ISO 8601, as the service writes and reads them: `P1DT2H3M4.5S`.

use std::fmt::Write;
use std::time::Duration;

/// .NET's longest time, which stands for "for ever".
const FOR_EVER: &str = "P10675199DT2H48M5.4775807S";
/// Half of it. Digits behind the point differ between those who hand it on.
const AGES: Duration = Duration::from_secs(5_000_000 * DAY);
const DAY: u64 = 86_400;

/// What is longer than ages is for ever.
pub(super) fn write(duration: Duration) -> String {
    if duration >= AGES {
        return FOR_EVER.to_owned();
    }
    let seconds = duration.as_secs();
    let mut out = format!(
        "P{}DT{}H{}M{}",
        seconds / DAY,
        seconds % DAY / 3600,
        seconds % 3600 / 60,
        seconds % 60
    );
    // .NET counts in steps of 100 ns.
    let ticks = duration.subsec_nanos() / 100;
    if ticks > 0 {
        let _ = write!(out, ".{}", format!("{ticks:07}").trim_end_matches('0'));
    }
    out.push('S');
    out
}

/// [`Duration::MAX`] for what stands for ever, `None` for what is no duration. Years and months, whose
/// length is open, are none.
pub(super) fn read(text: &str) -> Option<Duration> {
    let rest = text.trim().strip_prefix('P')?;
    let (days, time) = rest.split_once('T').unwrap_or((rest, ""));
    if rest.is_empty() || rest.ends_with('T') {
        return None;
    }
    let mut total = Duration::ZERO;
    for (part, units) in [(days, &[('D', DAY)][..]), (time, &[('H', 3600), ('M', 60), ('S', 1)])] {
        let mut rest = part;
        let mut units = units.iter();
        while !rest.is_empty() {
            let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
            let unit = rest[end..].chars().next()?;
            // Each at most once, and in order.
            let (_, seconds) = units.find(|(name, _)| *name == unit)?;
            total = total.checked_add(amount(&rest[..end], *seconds)?)?;
            rest = &rest[end + 1..];
        }
    }
    Some(if total < AGES { total } else { Duration::MAX })
}

fn amount(number: &str, unit: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let mut total = Duration::from_secs(whole.parse::<u64>().ok()?.checked_mul(unit)?);
    if !fraction.is_empty() {
        let nanos: u64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
        total = total.checked_add(Duration::from_nanos(nanos.checked_mul(unit)?))?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_durations_are_read() {
        for (text, millis) in [
            ("PT1M", 60_000),
            ("P14D", 14 * 86_400_000),
            ("P1DT2H3M4.5S", 93_784_500),
            ("PT0S", 0),
            ("PT0.05S", 50),
        ] {
            assert_eq!(read(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in [FOR_EVER, "P10675199DT2H48M5.477581S"] {
            assert_eq!(read(text), Some(Duration::MAX));
        }
        for text in [
            "",
            "P",
            "PT",
            "1D",
            "P1M",
            "P1Y",
            "PT1D",
            "PT-1S",
            "PT1.2.3S",
            "PTS",
            "P99999999999999999999D",
            "PT1é",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(write(Duration::MAX), FOR_EVER);
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_again(ticks in 0_u64..(1_u64 << 60)) {
            let duration = Duration::from_nanos(ticks / 100 * 100);
            proptest::prop_assert_eq!(read(&write(duration)), Some(duration));
        }

        #[test]
        fn whatever_is_answered_is_a_duration_or_none(text in "P[0-9.DTHMSYé-]{0,12}") {
            let _ = read(&text);
        }
    }
}
