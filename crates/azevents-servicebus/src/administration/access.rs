//! Keys that are good for one queue or topic. They are read and written with it: an update without them
//! would take them away.

use std::fmt;

use super::xml::{Element, Writer};

/// A shared access policy of one queue or topic. `Debug` does not show its keys.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessRule {
    /// The name of the key, as in connection strings.
    pub name: String,
    /// What holders of the key may do; Manage takes the two others along.
    pub rights: Vec<AccessRight>,
    /// 44 characters of Base64.
    pub primary_key: String,
    /// A second one, for the time in which the first is replaced.
    pub secondary_key: String,
}

/// What a key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessRight {
    /// Administration of the entity.
    Manage,
    /// Sending.
    Send,
    /// Receiving.
    Listen,
}

impl AccessRight {
    const ALL: [Self; 3] = [Self::Manage, Self::Send, Self::Listen];

    fn as_str(self) -> &'static str {
        match self {
            Self::Manage => "Manage",
            Self::Send => "Send",
            Self::Listen => "Listen",
        }
    }
}

impl AccessRule {
    /// A policy of a name, with its keys.
    pub fn new(
        name: impl Into<String>,
        rights: impl IntoIterator<Item = AccessRight>,
        primary_key: impl Into<String>,
        secondary_key: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            rights: rights.into_iter().collect(),
            primary_key: primary_key.into(),
            secondary_key: secondary_key.into(),
        }
    }

    pub(super) fn read_all(description: &Element) -> Vec<Self> {
        let rules = description.child("AuthorizationRules");
        let rules = rules.map_or(&[][..], |rules| &rules.children);
        rules.iter().map(Self::read).collect()
    }

    fn read(rule: &Element) -> Self {
        let text = |name| rule.text_of(name).unwrap_or_default().to_owned();
        let rights = rule.child("Rights").map_or(&[][..], |rights| &rights.children);
        let rights = rights.iter().filter_map(|right| {
            let known = AccessRight::ALL.into_iter();
            known.into_iter().find(|known| known.as_str() == right.text().trim())
        });
        Self {
            name: text("KeyName"),
            rights: rights.collect(),
            primary_key: text("PrimaryKey"),
            secondary_key: text("SecondaryKey"),
        }
    }

    pub(super) fn write_all(rules: &[Self], out: &mut Writer) {
        out.open("AuthorizationRules", "");
        for rule in rules {
            out.open("AuthorizationRule", "i:type=\"SharedAccessAuthorizationRule\"");
            out.text("ClaimType", "SharedAccessKey");
            out.text("ClaimValue", "None");
            out.open("Rights", "");
            for right in &rule.rights {
                out.text("AccessRights", right.as_str());
            }
            out.close("Rights");
            out.text("KeyName", &rule.name);
            out.text("PrimaryKey", &rule.primary_key);
            out.text("SecondaryKey", &rule.secondary_key);
            out.close("AuthorizationRule");
        }
        out.close("AuthorizationRules");
    }
}

impl fmt::Debug for AccessRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessRule")
            .field("name", &self.name)
            .field("rights", &self.rights)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_an_update_and_are_not_shown() {
        let rules = [
            AccessRule::new("all", AccessRight::ALL, "c2VjcmV0", "b2xk"),
            AccessRule::new("send", [AccessRight::Send], "a", "b"),
        ];
        let mut out = Writer::default();
        out.open("QueueDescription", "xmlns:i=\"i\"");
        AccessRule::write_all(&rules, &mut out);
        out.close("QueueDescription");
        let description = Element::parse(&out.into_string()).unwrap();
        assert_eq!(AccessRule::read_all(&description), rules);
        assert!(!format!("{rules:?}").contains("c2VjcmV0"));
    }
}
