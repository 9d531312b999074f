//! Times and lengths of time, as `DateTime` and `TimeSpan` of .NET.

use super::*;
use crate::servicebus::sql::value::LAST_TICK;

fn values() -> Parameters {
    parameters(&[
        ("@early", Value::time(1_000_000)),
        ("@late", Value::time(2_000_000)),
        ("@minute", Value::span(std::time::Duration::from_secs(60))),
        ("@first", Value::NO_TIME),
        ("@last", Value::Time(LAST_TICK)),
        ("@ever", Value::FOR_EVER),
    ])
}

#[test]
fn they_are_compared_with_their_like() {
    // As .NET's client writes a `TimeSpan` of ten seconds.
    let ten_seconds = Value::Span(100_000_000).encode().unwrap();
    let mut message = with("at", &Value::time(1_000_000)).message;
    let mut changes = PropertyChanges::default();
    changes.set_encoded("took", ten_seconds);
    message.change_properties(&changes).unwrap();
    let message = arrival(message);
    for condition in [
        "at = @early AND at < @late AND @late > at",
        "took < @minute AND took <> @minute",
        "at IN (@early)",
    ] {
        assert_eq!(decide(condition, &message, &values()), Ok(true), "{condition}");
    }
    for unlike in ["at = 1000000", "at > 'a'", "took < 60", "at < @minute"] {
        assert!(decide(unlike, &message, &values()).is_err(), "{unlike}");
    }
    let copy = after("SET copied = took", &message).unwrap();
    assert_eq!(
        Property::User("copied".into()).read(&copy),
        Ok(Value::Span(100_000_000))
    );
}

#[test]
fn they_are_added_and_subtracted() {
    for condition in [
        "@early + @minute < @late AND @early + @minute > @early AND @early + @minute - @minute = @early",
        "@late - @early > @minute AND @early + (@late - @early) = @late",
        "@late - @early - @minute < @late - @early AND @minute + @minute - @minute = @minute",
        "-@minute < @minute AND @early - -@minute = @early + @minute AND -(-@minute) = @minute",
        "@early - @late < @minute - @minute",
        "sys.EnqueuedTimeUtc + @minute > sys.EnqueuedTimeUtc",
        "@last - @first < @ever",
        "(@early + missing) IS NULL",
    ] {
        assert_eq!(decide(condition, &order(), &values()), Ok(true), "{condition}");
    }
}

#[test]
fn what_dotnet_has_no_operator_for_or_no_room_for_fails() {
    for condition in [
        "@early + 1 > @early",
        "@early + @late > @early",
        "@minute + @early > @early",
        "@minute - @early > @early",
        "@minute * 2 > @minute",
        "@minute / 2 < @minute",
        "-@early < @early",
        "@last + @minute > @last",
        "@first - @minute < @first",
        "@ever + @minute > @ever",
    ] {
        assert!(decide(condition, &order(), &values()).is_err(), "{condition}");
    }
}
