//! The tiers of a namespace, and what they differ in here.

/// What a namespace was bought as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    Standard,
    Premium,
}

impl Tier {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Standard => "Standard",
            Self::Premium => "Premium",
        }
    }

    /// The sizes that a queue or topic may have ("Service Bus Resource Manager exceptions", "Service Bus quotas").
    pub(crate) fn entity_megabytes(self) -> &'static [u64] {
        const ALL: [u64; 9] = [1024, 2048, 3072, 4096, 5120, 10_240, 20_480, 40_960, 81_920];
        match self {
            Self::Standard => &ALL[..5],
            Self::Premium => &ALL,
        }
    }

    /// The last of them.
    pub(crate) fn largest_entity(self) -> u64 {
        self.entity_megabytes().last().copied().unwrap_or_default()
    }

    /// Messages that one request deletes, at most ("Batch delete messages in Azure Service Bus", quotas).
    pub(super) fn max_deleted(self) -> usize {
        match self {
            Self::Standard => 500,
            Self::Premium => 4000,
        }
    }
}
