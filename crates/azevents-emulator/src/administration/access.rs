//! Authorization rules of queues and topics, to XML and back.

use super::{
    document::Element,
    fields::{Fields, instant},
};
use crate::{
    amqp::Right,
    clock::Timestamp,
    servicebus::{AuthorizationRule, BrokerError},
};

/// The one kind of rule that the service still makes.
const KIND: &str = "SharedAccessAuthorizationRule";

/// Writes all of them, with their keys: whoever sees them may manage the namespace.
pub(super) fn write(rules: &[AuthorizationRule]) -> String {
    let mut out = Fields::default();
    for rule in rules {
        let mut rights = Fields::default();
        for right in &rule.rights {
            rights.text("AccessRights", right.name());
        }
        out.raw(&format!("<AuthorizationRule i:type=\"{KIND}\">"))
            .text("ClaimType", "SharedAccessKey")
            .text("ClaimValue", "None")
            .raw(&format!("<Rights>{}</Rights>", rights.take()))
            .text("CreatedTime", &instant(Timestamp::from_millis(rule.created)))
            .text("ModifiedTime", &instant(Timestamp::from_millis(rule.modified)))
            .text("KeyName", &rule.key_name)
            .text("PrimaryKey", &rule.primary_key)
            .text("SecondaryKey", &rule.secondary_key)
            .raw("</AuthorizationRule>");
    }
    match rules {
        [] => "<AuthorizationRules />".to_owned(),
        _ => format!("<AuthorizationRules>{}</AuthorizationRules>", out.take()),
    }
}

/// Reads those of a description.
pub(super) fn read(description: &Element) -> Result<Vec<AuthorizationRule>, BrokerError> {
    let rules = description.find("AuthorizationRules");
    rules
        .map_or(&[][..], |rules| &rules.children)
        .iter()
        .map(rule)
        .collect()
}

fn rule(rule: &Element) -> Result<AuthorizationRule, BrokerError> {
    if let Some(kind) = rule.kind.as_deref().filter(|kind| *kind != KIND) {
        return Err(BrokerError::NotSupported(format!(
            "An authorization rule of the type {kind}"
        )));
    }
    let rights = rule.find("Rights").map_or(&[][..], |rights| &rights.children);
    let rights = rights.iter().map(|right| {
        let name = right.text.trim();
        let wrong = || BrokerError::Malformed(format!("'{name}' is no right; there are Send, Listen and Manage."));
        Right::named(name).ok_or_else(wrong)
    });
    let text = |name| rule.child(name).unwrap_or_default().to_owned();
    Ok(AuthorizationRule {
        key_name: text("KeyName"),
        primary_key: text("PrimaryKey"),
        secondary_key: text("SecondaryKey"),
        rights: rights.collect::<Result<_, _>>()?,
        created: 0,
        modified: 0,
    })
}
