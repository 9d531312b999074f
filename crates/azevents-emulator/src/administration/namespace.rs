//! The description of the namespace.

use super::{
    atom::Entry,
    fields::{Fields, instant},
};
use crate::servicebus::{Namespace, Tier};

/// There is only one.
pub(super) const NAME: &str = "azevents-emulator";

pub(super) fn write(namespace: &Namespace) -> Entry {
    let (times, tier) = (namespace.times(), namespace.config().tier());
    let mut fields = Fields::default();
    fields
        .text("CreatedTime", &instant(times.created()))
        .text("MessagingSKU", tier.name());
    if tier == Tier::Premium {
        fields.number("MessagingUnits", 1);
    }
    fields
        .text("ModifiedTime", &instant(times.updated()))
        .text("Name", NAME)
        .text("NamespaceType", "Messaging");
    Entry {
        title: NAME.to_owned(),
        kind: "NamespaceInfo",
        fields: fields.take(),
        times: Some(times),
    }
}
