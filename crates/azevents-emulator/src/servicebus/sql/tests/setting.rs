//! What actions change on a copy.

use super::*;

fn set(action: &str, arrival: &Arrival, name: &str) -> Result<Vec<u8>, String> {
    let copy = after(action, arrival)?;
    let encoded = Property::User(name.into()).as_it_is(&copy)?;
    Ok(encoded.expect("it is there").to_vec())
}

#[test]
fn an_action_changes_the_copy_and_not_the_message() {
    let original = order();
    let action = "SET sys.Label = 'seen in ' + country; SET total = 7 * 6; REMOVE note; SET sys.SessionId = 'x';";
    let copy = after(action, &original).unwrap();
    let none = Parameters::new();
    for condition in [
        "sys.Label = 'seen in France' AND total = 42 AND NOT EXISTS(note)",
        "country = 'France' AND sys.MessageId = 'order-1' AND sys.SessionId = 'x'",
    ] {
        assert_eq!(decide(condition, &copy, &none), Ok(true), "{condition}");
    }
    assert_eq!(copy.message.session_id().map(|id| &**id), Some("x"));
    assert_eq!(decide("EXISTS(note) AND sys.Label IS NULL", &original, &none), Ok(true));
    for (action, says) in [
        ("DROP total", "SET or REMOVE"),
        ("SET sys.SequenceNumber = 5", "sys.SequenceNumber can't be set"),
        ("SET sys.Colour = 'red'", "no property sys.Colour"),
        ("REMOVE sys.TimeToLive", "sys.TimeToLive can't be removed"),
        (&"SET a = 1;".repeat(33), "more than 32"),
    ] {
        let error = SqlAction::parse(action).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_property_keeps_the_type_it_has() {
    for (existing, expression, expected) in [
        // int, smallint in its place, ubyte, ulong: of the same width afterwards.
        (&[0x71, 0, 0, 0, 5][..], "p + 1", &[0x71, 0, 0, 0, 6][..]),
        (&[0x54, 5], "p + 1", &[0x71, 0, 0, 0, 6]),
        (&[0x61, 0, 5], "-p", &[0x61, 0xff, 0xfb]),
        (&[0x50, 5], "'7'", &[0x50, 7]),
        (&[0x53, 5], "2.5", &[0x80, 0, 0, 0, 0, 0, 0, 0, 2]),
        (&[0x55, 5], "TRUE", &[0x81, 0, 0, 0, 0, 0, 0, 0, 1]),
        (&[0x41], "'false'", &[0x42]),
        (&[0x41], "0", &[0x42]),
        (&[0xa1, 1, b'x'], "5", &[0xa1, 1, b'5']),
        (&[0xa1, 1, b'x'], "TRUE", &[0xa1, 4, b'T', b'r', b'u', b'e']),
        (&[0x72, 0, 0, 0, 0], "2", &[0x72, 0x40, 0, 0, 0]),
    ] {
        let action = format!("SET p = {expression}");
        assert_eq!(
            set(&action, &with_encoded("p", existing), "p").unwrap(),
            expected,
            "{action}"
        );
    }
    let decimal = |text: &str| Value::Decimal(text.parse().unwrap());
    for (existing, expression, expected) in [
        (decimal("1.50"), "p + 1", decimal("2.50")),
        (decimal("1.50"), "2.5", decimal("2.5")),
        (Value::Float(1.0), "3", Value::Float(3.0)),
        (Value::Span(0), "'1.02:03:04.5'", Value::Span(937_845_000_000)),
        (Value::time(0), "'2020-01-01T00:00:00Z'", Value::time(NEW_YEAR)),
        (
            Value::Guid(uuid::Uuid::nil()),
            "'00000000-0000-0000-0000-000000000007'",
            Value::Guid(uuid::Uuid::from_u128(7)),
        ),
    ] {
        let action = format!("SET p = {expression}");
        let copy = set(&action, &with("p", &existing), "p").unwrap();
        assert_eq!(Value::decode(&copy), expected, "{action}");
    }
}

#[test]
fn an_action_fails_where_nothing_can_be_made_of_a_value() {
    for (existing, expression) in [
        (&[0x71, 0, 0, 0, 5][..], "'many'"),
        (&[0x71, 0, 0, 0, 5], "3000000000"),
        (&[0x50, 5], "-1"),
        (&[0x41], "country"),
        (&[0x83, 0, 0, 0, 0, 0, 0, 0, 0], "5"),
        (&[0x98, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "'x'"),
    ] {
        let action = format!("SET p = {expression}");
        assert!(after(&action, &with_encoded("p", existing)).is_err(), "{action}");
    }
}

#[test]
fn texts_do_not_grow_without_end() {
    let doubled = |times: usize| "SET text = text + text;".repeat(times);
    let short = with("text", &Value::Text("ü".into()));
    let copy = after(&doubled(14), &short).unwrap();
    assert_eq!(
        Property::User("text".into()).read(&copy),
        Ok(Value::Text("ü".repeat(1 << 14)))
    );
    let why = after(&doubled(15), &short).unwrap_err();
    assert!(why.contains("longer than 32767"), "{why}");
    assert!(after(&doubled(32), &short).is_err());
}

#[test]
fn what_is_copied_stays_what_it_is() {
    for encoded in [
        &[0x71, 0, 0, 0, 5][..],
        &[0xa0, 2, 1, 2],
        &[0x73, 0, 0, 0, 65],
        &[0x98, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
    ] {
        let from = with_encoded("from", encoded);
        assert_eq!(set("SET copied = from", &from, "copied").unwrap(), encoded);
    }
    let (binary, number) = (&[0xa0, 2, 1, 2][..], &[0x54, 5][..]);
    let mut both = with_encoded("from", binary);
    let mut changes = PropertyChanges::default();
    changes.set_encoded("bytes", Bytes::from_static(&[0xb0, 0, 0, 0, 0]));
    changes.set_encoded("number", Bytes::copy_from_slice(number));
    both.message.change_properties(&changes).unwrap();
    assert_eq!(set("SET bytes = from", &both, "bytes").unwrap(), binary);
    assert!(after("SET number = from", &both).is_err());
    assert_eq!(set("SET from = number", &both, "from").unwrap()[0], 0x81);
    let id = set("SET id = newid()", &order(), "id").unwrap();
    assert!(matches!(Value::decode(&id), Value::Guid(_)));
    let copy = after("SET COUNTRY = 'Spain'", &order()).unwrap();
    assert_eq!(
        Property::User("country".into()).read(&copy),
        Ok(Value::Text("Spain".into())),
        "names are the same in any case"
    );
}

#[test]
fn the_brokers_properties_are_set_in_their_own_types() {
    let values = parameters(&[
        ("@hour", Value::Span(36_000_000_000)),
        ("@at", Value::time(NEW_YEAR + 5)),
    ]);
    let apply = |action: &str, arrival: &Arrival| {
        SqlAction::with_parameters(action, values.clone())
            .unwrap()
            .apply(arrival)
    };
    let action = "SET sys.Label = 5; SET sys.CorrelationId = newid(); SET sys.TimeToLive = @hour; \
                  SET sys.PartitionKey = 's' + 1; SET sys.ViaPartitionKey = 'v'; SET sys.ForcePersistence = TRUE; \
                  SET sys.ScheduledEnqueueTimeUtc = @at";
    let copy = arrival(apply(action, &order()).unwrap());
    let condition = "sys.Label = '5' AND sys.CorrelationId LIKE '________-%' AND sys.TimeToLive = @hour \
                     AND sys.PartitionKey = 's1' AND sys.ViaPartitionKey = 'v' AND sys.ScheduledEnqueueTimeUtc = @at";
    assert_eq!(decide(condition, &copy, &values), Ok(true));
    assert_eq!(copy.message.scheduled_at(), Some(Timestamp::from_millis(NEW_YEAR + 5)));
    let again = arrival(apply("REMOVE sys.PartitionKey; SET sys.TimeToLive = '00:00:01'", &copy).unwrap());
    let condition = "sys.PartitionKey IS NULL AND sys.ViaPartitionKey = 'v' AND sys.TimeToLive < @hour";
    assert_eq!(decide(condition, &again, &values), Ok(true));
    for (action, says) in [
        ("SET sys.TimeToLive = 5", "can't be made a length of time"),
        ("SET sys.TimeToLive = -@hour", "longer than nothing"),
        ("SET sys.TimeToLive = missing", "can't be made a length of time"),
        ("SET sys.PartitionKey = 'other'", "differs from the SessionId"),
        ("SET sys.Label = @at", "no text form"),
        ("SET sys.ForcePersistence = 'x'", "can't be made a boolean"),
    ] {
        let why = apply(action, &order()).unwrap_err();
        assert!(why.contains(says), "{action}: {why}");
    }
}
