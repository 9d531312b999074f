use proptest::prelude::*;

use super::*;

fn message(body: Vec<u8>, content_type: &str, key: &str, headers: BTreeMap<String, String>) -> Message {
    Message {
        id: "7f1c".into(),
        key: key.into(),
        event_type: "LineAdded".into(),
        content_type: content_type.into(),
        body: body.into(),
        headers,
    }
}

fn carrying(content_type: &str, body: &str, headers: &[(&str, &str)]) -> Message {
    let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    message(body.into(), content_type, "", headers.collect())
}

proptest! {
    #[test]
    fn an_event_comes_back_as_it_was_in_both_modes(
        body in proptest::collection::vec(any::<u8>(), 0..64),
        content_type in prop_oneof![Just(""), Just("application/json"), Just("text/plain"), Just("image/png")],
        key in "[a-z0-9-]{0,12}",
        headers in proptest::collection::btree_map("[a-z-]{1,12}", ".{0,12}", 0..4),
    ) {
        let event = CloudEvent::of(&message(body, content_type, &key, headers), "/shop");
        for mode in [ContentMode::Binary, ContentMode::Structured] {
            let back = CloudEvent::from_message(&event.to_message(mode)).unwrap();
            prop_assert_eq!(back.as_ref(), Some(&event));
        }
    }

    #[test]
    fn json_data_comes_back_byte_for_byte(number in any::<f64>(), text in ".{0,20}") {
        for body in [format!("{{\"n\": {number}}}"), serde_json::json!({"text": text}).to_string(), "1.0e2".into()] {
            let event = CloudEvent::of(&message(body.into(), "application/json", "k", BTreeMap::new()), "/shop");
            let back = CloudEvent::from_message(&event.to_message(ContentMode::Structured)).unwrap().unwrap();
            prop_assert_eq!(back.data, event.data);
        }
    }
}

#[test]
fn what_others_send_in_structured_mode_is_understood() {
    let body = r#"{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","subject":null,
        "id":"C234-1234-1234","time":"2018-04-05T17:31:00Z","comexampleothervalue":5,
        "datacontenttype":"text/xml","data":"<much wow=\"xml\"/>"}"#;
    let event = CloudEvent::from_message(&carrying("application/cloudevents+json; charset=utf-8", body, &[]))
        .unwrap()
        .unwrap();
    assert_eq!(event.data, "<much wow=\"xml\"/>");
    assert_eq!(
        (event.subject(), event.attributes["comexampleothervalue"].as_str()),
        (None, "5")
    );
    assert_eq!(event.time().unwrap().year(), 2018);
    let plain = event.into_plain("session");
    assert_eq!(
        (plain.key.as_str(), plain.headers["ce-source"].as_str()),
        ("session", "/mycontext")
    );
}

#[test]
fn the_prefix_for_jms_is_read_too_and_other_messages_are_no_events() {
    let headers = [
        ("cloudEvents_specversion", "1.0"),
        ("cloudEvents_id", "1"),
        ("cloudEvents_source", "/s"),
        ("cloudEvents_type", "T"),
        ("country", "France"),
    ];
    let event = CloudEvent::from_message(&carrying("text/plain", "x", &headers))
        .unwrap()
        .unwrap();
    assert_eq!((event.event_type.as_str(), event.headers.len()), ("T", 1));
    assert_eq!(
        CloudEvent::from_message(&carrying("application/json", "{}", &[])).unwrap(),
        None
    );
}

#[test]
fn what_breaks_the_specification_is_refused_with_the_reason() {
    let structured = |body| CloudEvent::from_message(&carrying(STRUCTURED, body, &[]));
    for (body, says) in [
        ("[]", "invalid type"),
        (
            r#"{"specversion":"0.3","id":"1","source":"/","type":"T"}"#,
            "version is 0.3",
        ),
        (
            r#"{"specversion":"1.0","id":"","source":"/","type":"T"}"#,
            "lacks the attribute id",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"/","type":"T","a-b":"c"}"#,
            "no name of an attribute",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"/","type":"T","data":1,"data_base64":"AA=="}"#,
            "both",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"/","type":"T","data_base64":"?"}"#,
            "data_base64",
        ),
    ] {
        let error = structured(body).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(says), "{error}");
    }
}
