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
        ("sys.Size = 1", "sys.Size"),
        ("a b", "'b'"),
        ("a = @p", "@p"),
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
    let error = SqlAction::parse("DROP total").unwrap_err().to_string();
    assert!(error.contains("SET or REMOVE"), "{error}");
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
