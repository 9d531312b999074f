//! Entities that are suspended, for senders, for receivers or for both ("Suspend and reactivate messaging
//! entities" in the service's documentation).

use serde::{Deserialize, Serialize};

use super::BrokerError;

/// What a queue, topic or subscription lets its clients do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EntityStatus {
    /// Everything.
    #[default]
    Active,
    /// Nothing. A subscription gets its copies all the same.
    Disabled,
    /// Receive only.
    SendDisabled,
    /// Send only.
    ReceiveDisabled,
}

impl EntityStatus {
    pub(crate) const ALL: [Self; 4] = [Self::Active, Self::Disabled, Self::SendDisabled, Self::ReceiveDisabled];

    /// As administration clients write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Disabled => "Disabled",
            Self::SendDisabled => "SendDisabled",
            Self::ReceiveDisabled => "ReceiveDisabled",
        }
    }

    /// The inverse of [`name`](Self::name).
    pub(crate) fn parse(name: &str) -> Result<Self, BrokerError> {
        Self::named(name).ok_or_else(|| {
            let all = Self::ALL.map(Self::name).join(", ");
            BrokerError::Malformed(format!("'{name}' is no status of an entity; there are {all}."))
        })
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether the entity called `path` can be sent to.
    pub(super) fn check_send(self, path: &str) -> Result<(), BrokerError> {
        match self {
            Self::Active | Self::ReceiveDisabled => Ok(()),
            Self::Disabled => Err(BrokerError::EntityDisabled(format!("'{path}' is currently disabled."))),
            Self::SendDisabled => Err(BrokerError::EntityDisabled(format!(
                "'{path}' is currently disabled for Send operations."
            ))),
        }
    }

    /// Whether the entity called `path` can be received from.
    pub(super) fn check_receive(self, path: &str) -> Result<(), BrokerError> {
        match self {
            Self::Active | Self::SendDisabled => Ok(()),
            Self::Disabled => Err(BrokerError::EntityDisabled(format!("'{path}' is currently disabled."))),
            Self::ReceiveDisabled => Err(BrokerError::EntityDisabled(format!(
                "'{path}' is currently disabled for Receive operations."
            ))),
        }
    }
}
