//! Why a link or a request is refused, in the service's conditions.
//!
//! Clients tell errors apart by the condition and, some, by words of the description: those are as the service has
//! them, the rest says what to do. Sources: "AMQP errors in Azure Service Bus" and "Event Hubs messaging exceptions"
//! (Microsoft's docs), the live tests of azure-sdk-for-js, and what users have quoted in the SDKs' issues, named at
//! each.

use super::log::Properties;
use crate::amqp::error::{self, Error};

/// `The messaging entity … could not be found`: by these words the JavaScript and .NET clients know that the entity is
/// meant, and not the network (core-amqp `errors.ts`, .NET `AmqpError.cs`).
fn no_entity(entity: &str, there_are: &[impl AsRef<str>]) -> Error {
    let there_are: Vec<&str> = there_are.iter().map(AsRef::as_ref).collect();
    let there_are = match &there_are[..] {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    error::not_found(format!(
        "The messaging entity '{entity}' could not be found. There are: {there_are}."
    ))
}

pub(super) fn no_hub(name: &str, hubs: &[&str]) -> Error {
    no_entity(name, hubs)
}

/// The entity's name as in logstash-input-azure_event_hubs#32.
pub(super) fn no_group(hub: &str, name: &str, groups: &[String]) -> Error {
    no_entity(&format!("eventhub:{hub}|{name}"), groups)
}

/// azure-sdk-for-python#11708, and azure-sdk-for-js `hubruntime.spec.ts`.
pub(super) fn no_partition(hub: &str, id: &str, count: usize) -> Error {
    error::custom(
        "com.microsoft:argument-out-of-range",
        format!(
            "The specified partition is invalid for an EventHub partition sender or receiver. It should be between 0 \
             and {}. '{hub}' has no '{id}'.",
            count - 1
        ),
    )
}

/// azure-event-hubs-python#13.
pub(super) fn offset_beyond_end(offset: &str, last: &str) -> Error {
    invalid("offset", offset, last)
}

/// azure-firewall-mon#21.
pub(super) fn number_beyond_end(number: i64, of: &Properties) -> Error {
    invalid("sequence number", &number.to_string(), &of.last_sequence.to_string())
}

fn invalid(what: &str, supplied: &str, last: &str) -> Error {
    error::custom(
        "com.microsoft:argument-error",
        format!("The supplied {what} '{supplied}' is invalid. The last {what} in the system is '{last}'."),
    )
}

/// azure-sdk-for-java#32046.
pub(super) fn taken_over(new: &str, new_epoch: i64, old: &str, old_epoch: Option<i64>) -> Error {
    let old_epoch = old_epoch.map_or_else(String::new, |epoch| format!(" with epoch '{epoch}'"));
    error::stolen(format!(
        "New receiver '{new}' with higher epoch of '{new_epoch}' is created hence current receiver '{old}'{old_epoch} is \
         getting disconnected."
    ))
}

/// azure-event-hubs-dotnet#317.
pub(super) fn lower_epoch(new: &str, new_epoch: i64, old: &str, old_epoch: i64) -> Error {
    error::stolen(format!(
        "Receiver '{old}' with a higher epoch of '{old_epoch}' already exists. Receiver '{new}' with epoch {new_epoch} cannot \
         be created."
    ))
}

/// azure-event-hubs-go#181.
pub(super) fn epoch_needed(old_epoch: i64) -> Error {
    error::stolen(format!(
        "At least one receiver for the endpoint is created with epoch of '{old_epoch}', and so non-epoch receiver is not \
         allowed."
    ))
}

/// azure-sdk-for-java#38117.
pub(super) fn too_many_readers(most: usize, names: &[&str]) -> Error {
    error::custom(
        "amqp:resource-limit-exceeded",
        format!(
            "Exceeded the maximum number of allowed receivers per partition in a consumer group which is {most}. List \
             of connected receivers - {}.",
            names.join(", ")
        ),
    )
}
