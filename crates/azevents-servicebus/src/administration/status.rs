//! Whether an entity is switched on.

use super::atom::Fields;

/// What can be done with an entity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum EntityStatus {
    /// Everything.
    #[default]
    Active,
    /// Nothing.
    Disabled,
    /// Receiving only.
    SendDisabled,
    /// Sending only.
    ReceiveDisabled,
    /// What the service is about to do, as in `Creating`; it cannot be asked for.
    Other(String),
}

impl EntityStatus {
    pub(super) fn read(fields: &Fields<'_>) -> Self {
        match fields.text("Status") {
            None | Some("Active") => Self::Active,
            Some("Disabled") => Self::Disabled,
            Some("SendDisabled") => Self::SendDisabled,
            Some("ReceiveDisabled") => Self::ReceiveDisabled,
            Some(other) => Self::Other(other.to_owned()),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Active => "Active",
            Self::Disabled => "Disabled",
            Self::SendDisabled => "SendDisabled",
            Self::ReceiveDisabled => "ReceiveDisabled",
            Self::Other(name) => name,
        }
    }
}
