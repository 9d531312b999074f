//! Conditions and actions, on messages encoded by the client library's types.

use super::*;
use crate::servicebus::message::testing::Sample;

fn order() -> Message {
    Sample::body("b")
        .id("order-1")
        .session("s1")
        .property("country", "France")
        .property("note", "50%_off")
        .message()
}

fn is(condition: &str) -> bool {
    SqlFilter::parse(condition)
        .unwrap_or_else(|error| panic!("{error}"))
        .matches(&order())
        .unwrap()
}

#[test]
fn conditions_hold_as_the_documentation_says() {
    for condition in [
        "1=1",
        "country = 'France'",
        "user.Country = 'France' AND sys.MessageId = 'order-1'",
        "sys.SessionId <> 's2'",
        "NOT (country = 'Spain' OR country = 'Italy')",
        "country IN ('Spain', 'France')",
        "country NOT IN ('Spain', 'Italy')",
        "country LIKE 'Fr%' AND country LIKE '_rance'",
        "country NOT LIKE '%z%'",
        "note LIKE '50!%!_off' ESCAPE '!'",
        "total IS NULL AND country IS NOT NULL",
        "EXISTS(country) AND NOT EXISTS(total)",
        "[country] = 'France' and \"note\" like '%off'",
        "2 + 3 * 4 = 14 AND (2 + 3) * 4 = 20 AND -7 % 4 = -3",
        "1.5e1 > 14 AND 3 / 2 = 1 AND 3.0 / 2 = 1.5",
        "'a' + 'b' = 'ab' AND 'it''s' = 'it''s'",
        "property('country') = 'France'",
        "TRUE",
    ] {
        assert!(is(condition), "{condition}");
    }
}

#[test]
fn what_is_said_of_a_missing_property_is_neither_true_nor_false() {
    for condition in [
        "total > 5",
        "NOT (total > 5)",
        "total <> 5",
        "total IN (1, 2)",
        "total NOT IN (1, 2)",
        "total LIKE '%'",
        "total = NULL",
        "country > 5",
    ] {
        assert!(!is(condition), "{condition}");
    }
    assert!(is("total > 5 OR country = 'France'"));
    assert!(!is("total > 5 AND country = 'France'"));
}

#[test]
fn what_makes_no_sense_is_refused_with_the_place() {
    for (condition, place) in [
        ("country =", "the end"),
        ("country = 'France", "a ' is missing"),
        ("country LIKE 'a' ESCAPE 'ab'", "one character"),
        ("sys.State = 1", "sys.State"),
        ("a b", "'b'"),
        ("a = @p", "no value to the parameter @p"),
        ("a LIKE 'b' ESCAPE 5", "takes a text"),
        ("property(a) = 1", "takes a text"),
        ("a NOT = 1", "IN or LIKE"),
        (&"(".repeat(1000), "too deep"),
    ] {
        let error = SqlFilter::parse(condition).unwrap_err().to_string();
        assert!(error.contains(place), "{condition}: {error}");
    }
}

#[test]
fn an_action_changes_the_copy_and_not_the_message() {
    let original = order();
    let action = "SET sys.Label = 'seen in ' + country; SET total = 7 * 6; REMOVE note; SET sys.SessionId = 'x';";
    let copy = SqlAction::parse(action).unwrap().apply(&original).unwrap();
    for condition in [
        "sys.Label = 'seen in France' AND total = 42 AND NOT EXISTS(note)",
        "country = 'France' AND sys.MessageId = 'order-1' AND sys.SessionId = 'x'",
    ] {
        assert!(
            SqlFilter::parse(condition).unwrap().matches(&copy).unwrap(),
            "{condition}"
        );
    }
    assert_eq!(copy.session_id().map(|id| &**id), Some("x"));
    assert!(
        SqlFilter::parse("EXISTS(note) AND sys.Label IS NULL")
            .unwrap()
            .matches(&original)
            .unwrap()
    );
    for (action, says) in [
        ("DROP total", "SET or REMOVE"),
        ("SET sys.TimeToLive = 5", "sys.TimeToLive"),
        (&"SET a = 1;".repeat(33), "more than 32"),
    ] {
        let error = SqlAction::parse(action).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

fn parameters(values: &[(&str, Value)]) -> Parameters {
    let values = values.iter();
    values
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

#[test]
fn parameters_stand_for_values_of_their_types() {
    let values = parameters(&[
        ("@country", Value::Text("France".into())),
        ("@n", Value::Integer(3)),
        ("@x", Value::Float(2.5)),
        ("@yes", Value::Boolean(true)),
        ("@escape", Value::Text("!".into())),
        ("@pattern", Value::Text("50!%%".into())),
        ("@unknown", Value::Null),
    ]);
    let filter = |condition: &str| SqlFilter::with_parameters(condition, values.clone()).unwrap();
    for condition in [
        "country = @country AND @n = 3 AND @n > @x AND @yes",
        "country IN ('Spain', @country)",
        "note LIKE @pattern ESCAPE @escape",
        "@n * 2 = 6 AND -@n = -3",
        "@unknown IS NULL",
    ] {
        assert!(filter(condition).matches(&order()).unwrap(), "{condition}");
    }
    let kept = serde_json::to_string(&filter("country = @country")).unwrap();
    let again: SqlFilter = serde_json::from_str(&kept).unwrap();
    assert_eq!(again, filter("country = @country"));
    assert!(again.matches(&order()).unwrap());
    let plain = serde_json::to_string(&SqlFilter::parse("1 = 1").unwrap()).unwrap();
    assert_eq!(plain, "\"1 = 1\"", "as it was kept before there were parameters");

    let action = SqlAction::with_parameters("SET total = @n + 1", values.clone()).unwrap();
    let copy = action.apply(&order()).unwrap();
    assert!(SqlFilter::parse("total = 4").unwrap().matches(&copy).unwrap());
}

#[test]
fn times_and_lengths_of_time_are_compared_with_their_like_and_stay_what_they_are() {
    let (early, late) = (Value::Time(1_000_000), Value::Time(2_000_000));
    let values = parameters(&[
        ("@early", early.clone()),
        ("@late", late),
        ("@minute", Value::span(std::time::Duration::from_secs(60))),
    ]);
    let filter = |condition: &str, message: &Message| {
        let filter = SqlFilter::with_parameters(condition, values.clone()).unwrap();
        filter.matches(message)
    };
    // As .NET's client writes a `TimeSpan` of ten seconds.
    let ten_seconds = Value::Span(100_000_000).encode().unwrap();
    assert_eq!(Value::decode(&ten_seconds), Value::Span(100_000_000));
    let mut message = order();
    let mut changes = PropertyChanges::default();
    changes.set_encoded("at", early.encode().unwrap());
    changes.set_encoded("took", ten_seconds.clone());
    message.change_properties(&changes).unwrap();
    for condition in [
        "at = @early AND at < @late AND @late > at",
        "took < @minute AND took <> @minute",
        "at IN (@early)",
    ] {
        assert_eq!(filter(condition, &message), Ok(true), "{condition}");
    }
    for unknown in ["at = 1000000", "at > 'a'", "took < 60", "at < @minute"] {
        assert_eq!(filter(unknown, &message), Ok(false), "{unknown}");
    }
    assert!(filter("at + 1 > @early", &message).is_err());
    let copy = SqlAction::parse("SET copied = took").unwrap().apply(&message).unwrap();
    assert_eq!(
        Property::User("copied".into()).read(&copy),
        Ok(Value::Span(100_000_000))
    );
}

#[test]
fn more_of_what_the_broker_knows_can_be_asked_for() {
    let values = parameters(&[
        ("@minute", Value::span(std::time::Duration::from_secs(60))),
        ("@at", Value::Time(5000)),
    ]);
    let plain = Sample::body("b");
    let full = plain.clone().partition_key("key").ttl_ms(59_000).scheduled_at_ms(5000);
    let is = |condition: &str, sample: &Sample| {
        let filter = SqlFilter::with_parameters(condition, values.clone()).unwrap();
        filter.matches(&sample.message()).unwrap()
    };
    for condition in [
        "sys.PartitionKey = 'key' AND sys.ViaPartitionKey IS NULL",
        "sys.TimeToLive < @minute AND sys.ScheduledEnqueueTimeUtc = @at",
        "sys.Size > 0 AND sys.Size < 1000 AND NOT EXISTS(sys.DeadLetterSource)",
    ] {
        assert!(is(condition, &full), "{condition}");
    }
    assert!(is(
        "sys.TimeToLive > @minute AND sys.ScheduledEnqueueTimeUtc < @at",
        &plain
    ));
    assert!(is("sys.PartitionKey IS NULL", &plain));
}

#[test]
fn what_has_no_value_is_an_error_unless_it_is_not_needed() {
    for condition in [
        "sys.Colour = 1",
        "1 / 0 = 1",
        "country - 1 = 2",
        "9223372036854775807 + 1 > 0",
        "-country > 0",
    ] {
        let filter = SqlFilter::parse(condition).unwrap();
        assert!(filter.matches(&order()).is_err(), "{condition}");
        for decided in [format!("TRUE OR {condition}"), format!("NOT (FALSE AND {condition})")] {
            assert!(is(&decided), "{decided}");
        }
    }
    assert!(
        !is("total / 0 = 1"),
        "a missing property is unknown, whatever is done to it"
    );
    assert!(
        SqlAction::parse("SET sys.Colour = 'red'")
            .unwrap()
            .apply(&order())
            .is_err()
    );
}
