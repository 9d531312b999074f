//! What a key may do: the claims of shared access rules ("Service Bus access control with Shared Access Signatures",
//! rights required for operations).

use serde::{Deserialize, Serialize};

/// One claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Right {
    /// Send messages.
    Send,
    /// Receive, peek, settle; sessions and rules of a subscription.
    Listen,
    /// Change the entity itself.
    Manage,
}

impl Right {
    const ALL: [Self; 3] = [Self::Send, Self::Listen, Self::Manage];

    /// As clients write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Send => "Send",
            Self::Listen => "Listen",
            Self::Manage => "Manage",
        }
    }

    /// The inverse of [`name`](Self::name).
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.name() == name)
    }
}

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights(u8);

impl Rights {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ALL: Self = Self(0b111);

    pub(crate) fn has(self, right: Right) -> bool {
        self.0 & Self::bit(right) != 0
    }

    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn bit(right: Right) -> u8 {
        1 << right as u8
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        let set = rights.into_iter().fold(0, |set, right| set | Self::bit(right));
        Self(set)
    }
}
