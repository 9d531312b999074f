//! Whatever is written and whatever a message says: read or refused, decided or failed, and nothing worse.

use proptest::prelude::*;

use super::*;

/// What conditions are made of, and some of what they are not.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => proptest::sample::select(vec![
            "AND", "OR", "NOT", "IN", "LIKE", "ESCAPE", "IS", "NULL", "EXISTS", "TRUE", "FALSE", "SET", "REMOVE",
            "(", ")", ",", ";", ".", "=", "<>", "<", ">=", "+", "-", "*", "/", "%", "'", "[", "@", "newid()", "p('a')",
            "sys.SequenceNumber", "sys.EnqueuedTimeUtc", "sys.TimeToLive", "sys.Label", "sys.", "user.p", "p", "q",
            "'a'", "5", "2.5", "1e308", "9223372036854775807", "@time", "@span", "@decimal", "@guid", "[x y]", "\"z\"",
        ]).prop_map(str::to_owned),
        1 => ".{0,6}",
    ]
}

/// An operand, of any kind.
fn operand() -> impl Strategy<Value = String> {
    proptest::sample::select(vec![
        "p",
        "missing",
        "5",
        "-9223372036854775807",
        "2.5",
        "1e308",
        "'a'",
        "TRUE",
        "NULL",
        "@time",
        "@span",
        "@decimal",
        "@guid",
        "sys.SequenceNumber",
        "sys.ExpiresAtUtc",
        "sys.TimeToLive",
        "sys.LockToken",
        "sys.Label",
        "newid()",
    ])
    .prop_map(str::to_owned)
}

/// Something well formed.
fn expression() -> impl Strategy<Value = String> {
    operand().prop_recursive(5, 24, 3, |inner| {
        let operator = proptest::sample::select(vec!["+", "-", "*", "/", "%"]);
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, operator, b)| format!("({a} {operator} {b})")),
            inner.prop_map(|of| format!("(-{of})")),
        ]
    })
}

fn condition() -> impl Strategy<Value = String> {
    let operator = proptest::sample::select(vec!["=", "<>", "<", "<=", ">", ">=", "LIKE", "NOT LIKE"]);
    let leaf = prop_oneof![
        (expression(), operator, expression()).prop_map(|(a, operator, b)| format!("{a} {operator} {b}")),
        expression().prop_map(|of| format!("{of} IS NOT NULL")),
        (expression(), proptest::collection::vec(expression(), 1..3))
            .prop_map(|(of, list)| format!("{of} IN ({})", list.join(", "))),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} AND {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} OR {b})")),
            inner.prop_map(|of| format!("(NOT {of})")),
        ]
    })
}

fn values() -> Parameters {
    parameters(&[
        ("@time", Value::time(NEW_YEAR)),
        ("@span", Value::Span(i64::MAX - 1)),
        ("@decimal", Value::Decimal(rust_decimal::Decimal::MAX)),
        ("@guid", Value::Guid(uuid::Uuid::nil())),
    ])
}

/// The value of a property, of the types that clients use, at its extremes too.
fn encoded() -> impl Strategy<Value = Vec<u8>> {
    let sized = |code: u8, length: usize| {
        proptest::collection::vec(any::<u8>(), length).prop_map(move |bytes| [vec![code], bytes].concat())
    };
    prop_oneof![
        sized(0x50, 1),
        sized(0x51, 1),
        sized(0x60, 2),
        sized(0x61, 2),
        sized(0x70, 4),
        sized(0x71, 4),
        sized(0x72, 4),
        sized(0x73, 4),
        sized(0x74, 4),
        sized(0x80, 8),
        sized(0x81, 8),
        sized(0x82, 8),
        sized(0x83, 8),
        sized(0x84, 8),
        sized(0x94, 16),
        sized(0x98, 16),
        sized(0x56, 1),
        Just(vec![0x40]),
        Just(vec![0x41]),
        Just(vec![0xa0, 1, 9]),
        Just(vec![0xa1, 2, b'4', b'2']),
        Just(vec![0x00, 0xa3, 1, b'x', 0x54, 1]),
        any::<i64>().prop_map(|ticks| wire::encode_ticks(wire::TIMESPAN, ticks).to_vec()),
        any::<i64>().prop_map(|ticks| wire::encode_ticks(wire::DATETIME_OFFSET, ticks).to_vec()),
        "[0-9:.TZ-]{0,12}".prop_map(|text| string(&text).to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(pieces in proptest::collection::vec(piece(), 0..16)) {
        let text = pieces.join(" ");
        for read in [
            SqlFilter::with_parameters(&text, values()).map(|filter| drop(filter.matches(&order()))),
            SqlAction::with_parameters(&text, values()).map(|action| drop(action.apply(&order()))),
        ] {
            if let Err(error) = read {
                prop_assert!(matches!(error, BrokerError::Malformed(_)), "{}", error);
            }
        }
    }

    #[test]
    fn any_condition_is_decided_or_fails_the_same_way_after_a_restart(text in condition(), property in encoded()) {
        let arrival = with_encoded("p", &property);
        // The limit of the service.
        prop_assume!(text.chars().count() <= 1024);
        let filter = SqlFilter::with_parameters(&text, values()).unwrap();
        let decided = filter.matches(&arrival);
        let again: SqlFilter = serde_json::from_str(&serde_json::to_string(&filter).unwrap()).unwrap();
        if !text.contains("newid") {
            prop_assert_eq!(again.matches(&arrival), decided);
        }
        prop_assert_eq!(again, filter);
    }

    #[test]
    fn whatever_is_set_keeps_the_type_that_was_there(text in expression(), property in encoded()) {
        let arrival = with_encoded("p", &property);
        prop_assume!(text.chars().count() <= 1000);
        let action = SqlAction::with_parameters(&format!("SET p = {text}"), values()).unwrap();
        if let Ok(message) = action.apply(&arrival) {
            let copy = Arrival { message, ..arrival.clone() };
            let (before, after) = (Property::User("p".into()).read(&arrival), Property::User("p".into()).read(&copy));
            let (before, after) = (before.unwrap(), after.unwrap());
            // A large one is a decimal until something else is set.
            let is_large = property[0] == 0x80;
            if before != Value::Null && after != Value::Null && !is_large {
                prop_assert_eq!(before.kind(), after.kind());
            }
        }
    }

    #[test]
    fn any_text_becomes_what_a_property_is_or_the_action_fails(text in "[-0-9:.TZ+e]{0,28}|.{0,12}", property in encoded()) {
        if let Ok(Some(set)) = convert::encode_like(&property, &Value::Text(text.clone())) {
            let read = Value::decode(&set);
            prop_assert!(read != Value::Null, "{} in {:x?}", text, property);
            // A length of time that was read is written the same way again.
            if let Value::Span(ticks) = read {
                prop_assert_eq!(convert::to_span(&Value::Text(convert::to_text(&read).unwrap())), Ok(ticks));
            }
        }
    }

    #[test]
    fn a_length_of_time_is_read_as_it_was_written(ticks in (i64::MIN + 1)..) {
        let text = convert::to_text(&Value::Span(ticks)).unwrap();
        prop_assert_eq!(convert::to_span(&Value::Text(text)), Ok(ticks));
    }

    #[test]
    fn adding_a_length_of_time_and_taking_it_away_changes_nothing(at in 0..=3_155_378_975_999_999_999_i64, by in any::<i64>()) {
        let values = parameters(&[("@at", Value::Time(at)), ("@by", Value::Span(by))]);
        match decide("@at + @by - @by = @at AND (@at + @by) - @at = @by", &order(), &values) {
            Ok(same) => prop_assert!(same),
            Err(why) => prop_assert!(why.contains("a time is before"), "{}", why),
        }
    }
}
