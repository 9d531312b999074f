//! What an address names: a hub, one of its partitions, or a consumer group's view of one.

/// An address taken apart; names are the client's, not yet looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address<'a> {
    /// `hub`: a publisher that leaves the partition to us.
    Hub(&'a str),
    /// `hub/Partitions/0`: a publisher to one partition.
    Partition { hub: &'a str, partition: &'a str },
    /// `hub/ConsumerGroups/$Default/Partitions/0`: a reader.
    Group {
        hub: &'a str,
        group: &'a str,
        partition: &'a str,
    },
}

impl<'a> Address<'a> {
    /// `None` if it is none of the three.
    pub(super) fn parse(address: &'a str) -> Option<Self> {
        let parts: Vec<&str> = address.split('/').collect();
        match parts[..] {
            [hub] if !hub.is_empty() => Some(Self::Hub(hub)),
            [hub, partitions, partition] if is(partitions, "Partitions") => Some(Self::Partition { hub, partition }),
            [hub, groups, group, partitions, partition]
                if is(groups, "ConsumerGroups") && is(partitions, "Partitions") =>
            {
                Some(Self::Group { hub, group, partition })
            }
            _ => None,
        }
    }
}

fn is(segment: &str, name: &str) -> bool {
    segment.eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn the_three_forms_are_told_apart_whatever_the_case_of_keywords() {
        assert_eq!(Address::parse("eh1"), Some(Address::Hub("eh1")));
        assert_eq!(
            Address::parse("eh1/partitions/3"),
            Some(Address::Partition {
                hub: "eh1",
                partition: "3"
            })
        );
        assert_eq!(
            Address::parse("eh1/ConsumerGroups/$default/Partitions/0"),
            Some(Address::Group {
                hub: "eh1",
                group: "$default",
                partition: "0"
            })
        );
        assert_eq!(Address::parse("eh1/Subscriptions/s"), None);
        assert_eq!(Address::parse(""), None);
    }
}
