//! Conditions and actions, on messages encoded by the client library's types.

mod any;
mod setting;
mod system;
mod times;

use super::*;
use crate::servicebus::{clock::Timestamp, message::testing::Sample};

/// The seventh message of a topic, sent at the beginning of 2020.
fn arrival(message: Message) -> Arrival {
    Arrival {
        message,
        sequence_number: 7,
        enqueued_at: Timestamp::from_millis(NEW_YEAR),
    }
}

const NEW_YEAR: i64 = 1_577_836_800_000;

fn order() -> Arrival {
    let sample = Sample::body("b").id("order-1").session("s1");
    let sample = sample.property("country", "France").property("note", "50%_off");
    arrival(sample.property("of", "total").property("escape", "!").message())
}

/// An order with one more property.
fn with(name: &str, value: &Value) -> Arrival {
    with_encoded(name, &value.encode().unwrap())
}

fn with_encoded(name: &str, encoded: &[u8]) -> Arrival {
    let mut arrival = order();
    let mut changes = PropertyChanges::default();
    changes.set_encoded(name, Bytes::copy_from_slice(encoded));
    arrival.message.change_properties(&changes).unwrap();
    arrival
}

/// What a condition is of an order: true, anything else, or an error.
fn decide(condition: &str, arrival: &Arrival, values: &Parameters) -> Result<bool, String> {
    SqlFilter::with_parameters(condition, values.clone())
        .unwrap_or_else(|error| panic!("{error}"))
        .matches(arrival)
}

fn is(condition: &str) -> bool {
    decide(condition, &order(), &Parameters::new()).unwrap_or_else(|error| panic!("{condition}: {error}"))
}

/// An order after an action.
fn after(action: &str, arrival: &Arrival) -> Result<Arrival, String> {
    let message = SqlAction::parse(action).unwrap().apply(arrival)?;
    Ok(Arrival {
        message,
        ..arrival.clone()
    })
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
        "property('country') = 'France' AND p('coun' + 'try') = 'France' AND p(p('of')) IS NULL",
        "note LIKE '50!%!_off' ESCAPE p('esc' + 'ape')",
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
        ("sys.Colour = 'red'", "no property sys.Colour"),
        ("a b", "'b'"),
        ("a = @p", "no value to the parameter @p"),
        ("a LIKE 'b' ESCAPE 5", "one character"),
        ("property(5) = 1", "takes the name of a property"),
        ("property('a' = 1", "')' expected"),
        ("a NOT = 1", "IN or LIKE"),
        (&"(".repeat(1000), "too deep"),
        (&"p(".repeat(500), "too deep"),
    ] {
        let error = SqlFilter::parse(condition).unwrap_err().to_string();
        assert!(error.contains(place), "{condition}: {error}");
    }
}

#[test]
fn the_longest_and_deepest_that_is_taken_is_decided() {
    let repeated = |before: &str, times: usize, between: &str, after: &str| {
        format!("{}{between}{}", before.repeat(times), after.repeat(times))
    };
    for condition in [
        repeated("1+", 508, "1 = 509", ""),
        repeated("1=2 OR ", 145, "1 = 1", ""),
        repeated("1=1 AND ", 127, "1 = 1", ""),
        repeated("NOT ", 254, "1 = 1", ""),
        repeated("(", 31, "1=1", ")"),
    ] {
        assert!(is(&condition), "{condition}");
    }
    // There is no property France; and as many steps between two parentheses as there can be.
    let named = repeated("p(", 31, "'country'", ")") + " = 1";
    let steep = repeated("1=1 AND NOT 1=1+1*-(", 31, "0", ")");
    for fails in [named, steep] {
        assert!(decide(&fails, &order(), &Parameters::new()).is_err(), "{fails}");
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
        assert_eq!(decide(condition, &order(), &values), Ok(true), "{condition}");
    }
    let kept = serde_json::to_string(&filter("country = @country")).unwrap();
    let again: SqlFilter = serde_json::from_str(&kept).unwrap();
    assert_eq!(again, filter("country = @country"));
    assert!(again.matches(&order()).unwrap());
    let plain = serde_json::to_string(&SqlFilter::parse("1 = 1").unwrap()).unwrap();
    assert_eq!(plain, "\"1 = 1\"", "as it was kept before there were parameters");

    let action = SqlAction::with_parameters("SET total = @n + 1", values.clone()).unwrap();
    let copy = arrival(action.apply(&order()).unwrap());
    assert_eq!(decide("total = 4", &copy, &values), Ok(true));
}

#[test]
fn what_has_no_value_is_an_error_unless_it_is_not_needed() {
    for condition in [
        "1 / 0 = 1",
        "1 % 0 = 1",
        "country - 1 = 2",
        "9223372036854775807 + 1 > 0",
        "-country > 0",
        "p(5 + 5) = 1",
        "p(total) = 1",
        "note LIKE 'x' ESCAPE country",
    ] {
        let decided = decide(condition, &order(), &Parameters::new());
        assert!(decided.is_err(), "{condition}");
        for decided in [format!("TRUE OR {condition}"), format!("NOT (FALSE AND {condition})")] {
            assert!(is(&decided), "{decided}");
        }
    }
    assert!(
        !is("total / 0 = 1"),
        "a missing property is unknown, whatever is done to it"
    );
    assert!(is("1.0 / 0 > 1e300"), "as in C#, for floating-point numbers");
}

#[test]
fn only_like_values_are_compared_and_only_what_has_an_order_for_more_than_equality() {
    let values = parameters(&[
        ("@guid", Value::Guid(uuid::Uuid::from_u128(7))),
        ("@decimal", Value::Decimal("1.5".parse().unwrap())),
        ("@time", Value::time(NEW_YEAR)),
        ("@span", Value::Span(1)),
    ]);
    for (condition, says) in [
        ("country > 5", "a text can't be compared to an integer"),
        ("country = TRUE", "a text can't be compared to a boolean"),
        ("country > 'Andorra'", "a text is only equal to another or not"),
        ("TRUE > FALSE", "a boolean is only equal"),
        ("country IN ('Spain', 5)", "a text can't be compared to an integer"),
        (
            "@guid = '00000000-0000-0000-0000-000000000007'",
            "a guid can't be compared to a text",
        ),
        (
            "@decimal > 1.2",
            "a decimal can't be compared to a floating-point number",
        ),
        ("@decimal + 1.2 = 2", "has no value"),
        ("@time = 5", "a time can't be compared to an integer"),
        ("@time > @span", "a time can't be compared to a length of time"),
    ] {
        let why = decide(condition, &order(), &values).unwrap_err();
        assert!(why.contains(says), "{condition}: {why}");
    }
    for condition in [
        "@guid = @guid AND NOT @guid <> @guid",
        "@decimal > 1 AND @decimal < 2 AND @decimal <> 2",
        "@decimal * 2 = 3 AND @decimal / 3 < 1 AND -@decimal < 0 AND @decimal % 1 > 0",
        "1 < 1.5 AND 2.0 = 2 AND TRUE <> FALSE",
    ] {
        assert_eq!(decide(condition, &order(), &values), Ok(true), "{condition}");
    }
}

#[test]
fn texts_are_made_of_anything_that_has_one_form() {
    let values = parameters(&[
        ("@decimal", Value::Decimal("1.50".parse().unwrap())),
        ("@guid", Value::Guid(uuid::Uuid::from_u128(7))),
        ("@span", Value::Span(937_805_000_000)),
        ("@time", Value::time(NEW_YEAR)),
    ]);
    for condition in [
        "'n' + 5 = 'n5' AND 5 + 'n' = '5n' AND 'x' + 2.5 = 'x2.5' AND 'is ' + TRUE = 'is True'",
        "'d' + @decimal = 'd1.50' AND @guid + '' LIKE '%-000000000007'",
        "'' + @span = '1.02:03:00.5000000' AND '' + -@span = '-1.02:03:00.5000000'",
        "1234 LIKE '12%' AND TRUE LIKE 'T%' AND @decimal LIKE '1.5_'",
    ] {
        assert_eq!(decide(condition, &order(), &values), Ok(true), "{condition}");
    }
    for condition in ["'' + @time = ''", "@time LIKE '2020%'", "'' + 1e300 = ''"] {
        assert!(decide(condition, &order(), &values).is_err(), "{condition}");
    }
}

#[test]
fn a_decimal_is_read_from_a_message() {
    let price = with("price", &Value::Decimal("12.50".parse().unwrap()));
    let none = Parameters::new();
    assert_eq!(
        decide("price > 12 AND price < 13 AND price * 2 = 25", &price, &none),
        Ok(true)
    );
    let same = parameters(&[("@price", Value::Decimal("12.5".parse().unwrap()))]);
    assert_eq!(
        decide("price = @price AND price IN (1, @price)", &price, &same),
        Ok(true)
    );
}
