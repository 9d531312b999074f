//! What the broker knows of a message as it passes its topic.

use super::*;

#[test]
fn the_broker_knows_what_a_message_has_at_its_topic() {
    let values = parameters(&[
        ("@minute", Value::span(std::time::Duration::from_secs(60))),
        ("@at", Value::time(5000)),
        ("@now", Value::time(NEW_YEAR)),
        ("@end", Value::time(NEW_YEAR + 59_000)),
        ("@late", Value::time(4_102_444_800_000)),
    ]);
    let plain = Sample::body("b");
    let full = plain.clone().partition_key("key").ttl_ms(59_000).scheduled_at_ms(5000);
    let is = |condition: &str, sample: &Sample| decide(condition, &arrival(sample.message()), &values).unwrap();
    for condition in [
        "sys.PartitionKey = 'key' AND sys.ViaPartitionKey IS NULL",
        "sys.TimeToLive < @minute AND sys.ScheduledEnqueueTimeUtc = @at",
        "sys.Size > 0 AND sys.Size < 1000 AND NOT EXISTS(sys.DeadLetterSource)",
        "sys.SequenceNumber = 7 AND sys.EnqueuedSequenceNumber = 0 AND sys.DeliveryCount = 0",
        "sys.EnqueuedTimeUtc = @now AND sys.ExpiresAtUtc = @end",
        "sys.ExpiresAtUtc - sys.EnqueuedTimeUtc = sys.TimeToLive",
        "sys.State = 0 AND NOT sys.ForcePersistence AND sys.forcepersistence = FALSE",
        "sys.LockToken IS NULL AND sys.LockedUntilUtc IS NULL AND NOT EXISTS(sys.LockToken)",
        "EXISTS(sys.SequenceNumber) AND EXISTS(sys.EnqueuedTimeUtc)",
    ] {
        assert!(is(condition, &full), "{condition}");
    }
    let without = "sys.TimeToLive > @minute AND sys.ScheduledEnqueueTimeUtc < @at AND sys.ExpiresAtUtc > @late";
    assert!(is(without, &plain));
    assert!(is("sys.PartitionKey IS NULL", &plain));
    assert!(!is("sys.LockedUntilUtc > @at", &plain), "unknown, and no error");
}

#[test]
fn a_message_that_was_passed_on_keeps_the_number_it_had_first() {
    let mut arrival = order();
    arrival.message.forwarded(41);
    arrival.message.forwarded(3);
    let none = Parameters::new();
    assert_eq!(
        decide(
            "sys.EnqueuedSequenceNumber = 41 AND sys.SequenceNumber = 7",
            &arrival,
            &none
        ),
        Ok(true)
    );
}
