//! Positions of partitions that are no more.
//!
//! A client goes on in the change feed of a new partition from a position in an old one. A split keeps the
//! numbers of items. A merge in Microsoft's emulator gives all items new ones, from 1: by number alone a client
//! would miss what is written afterwards. So a position says which partition it is of, and this finds what it
//! has become.

use std::collections::HashMap;

use super::{ItemKey, Token};

/// Where the partitions of one container come from.
#[derive(Debug, Default)]
pub(in crate::cosmos) struct Lineage(HashMap<u32, Origin>);

#[derive(Debug)]
enum Origin {
    SplitFrom(u32),
    MergedFrom([(u32, Renumbered); 2]),
}

/// An item in a partition's change feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cosmos) struct Place {
    pub(super) lsn: u64,
    pub(in crate::cosmos) item: ItemKey,
    /// What stays the same in a merge.
    pub(super) rid: String,
}

/// A partition's items before a merge, and where to go on behind each.
#[derive(Debug)]
struct Renumbered {
    /// In the order of the feed.
    before: Vec<Place>,
    /// New positions: `resume[n]` has the first `n` items before it and none of the others behind it.
    resume: Vec<u64>,
}

impl Renumbered {
    fn new(before: Vec<Place>, after: &[Place]) -> Self {
        let number: HashMap<&str, u64> = after.iter().map(|place| (place.rid.as_str(), place.lsn)).collect();
        let end = after.last().map_or(0, |place| place.lsn);
        let mut resume = vec![end];
        for place in before.iter().rev() {
            let next = number.get(place.rid.as_str()).map_or(end, |lsn| lsn - 1);
            resume.push(next.min(resume[resume.len() - 1]));
        }
        resume.reverse();
        Self { before, resume }
    }

    fn translate(&self, token: &Token) -> u64 {
        let seen = self.before.partition_point(|place| {
            place.lsn < token.lsn || (place.lsn == token.lsn && (token.is_behind_all() || *place.item.id <= *token.id))
        });
        self.resume[seen]
    }
}

impl Lineage {
    pub(in crate::cosmos) fn split(&mut self, from: u32, into: &[u32]) {
        self.0
            .extend(into.iter().map(|child| (*child, Origin::SplitFrom(from))));
    }

    /// Notes a merge, with the change feeds of both partitions before it and of the whole after it.
    pub(in crate::cosmos) fn merged(&mut self, from: [(u32, Vec<Place>); 2], into: u32, after: &[Place]) {
        let from = from.map(|(partition, before)| (partition, Renumbered::new(before, after)));
        self.0.insert(into, Origin::MergedFrom(from));
    }

    /// What a position has become in `partition`. `None` if the position is of no forebear of it.
    pub(in crate::cosmos) fn translate(&self, token: &Token, partition: u32) -> Option<Token> {
        if token.partition == Some(partition) {
            return Some(token.clone());
        }
        match self.0.get(&partition)? {
            Origin::SplitFrom(parent) => {
                let token = self.translate(token, *parent)?;
                Some(token.in_partition(Some(partition)))
            }
            // A position from before both was of items that are in either.
            Origin::MergedFrom(parents) => parents
                .iter()
                .filter_map(|(parent, renumbered)| Some(renumbered.translate(&self.translate(token, *parent)?)))
                .min()
                .map(|lsn| Token::behind(Some(partition), lsn)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(numbers: &[(u64, &str)]) -> Vec<Place> {
        let place = |&(lsn, rid): &(u64, &str)| Place {
            lsn,
            item: ItemKey::new("[]", rid).unwrap(),
            rid: rid.to_owned(),
        };
        numbers.iter().map(place).collect()
    }

    #[test]
    fn behind_a_merge_a_position_has_the_same_items_before_it() {
        let mut lineage = Lineage::default();
        lineage.split(0, &[1, 2]);
        // Split at 10; both count on from there.
        let (lower, upper) = (
            places(&[(3, "a"), (9, "b"), (12, "c")]),
            places(&[(5, "x"), (11, "y"), (12, "z")]),
        );
        let whole = places(&[(1, "a"), (2, "x"), (3, "b"), (4, "y"), (5, "c"), (6, "z")]);
        lineage.merged([(1, lower), (2, upper)], 3, &whole);
        let whole_before = (0, 9, 3);
        for (partition, lsn, resume) in [
            (1, 9, 4),
            (1, 3, 2),
            (1, 2, 0),
            (1, 12, 6),
            (2, 5, 3),
            (2, 11, 5),
            whole_before,
        ] {
            let found = lineage.translate(&Token::behind(Some(partition), lsn), 3);
            assert_eq!(found, Some(Token::behind(Some(3), resume)), "{partition} {lsn}");
        }
        assert_eq!(lineage.translate(&Token::behind(Some(7), 1), 3), None);
    }
}
