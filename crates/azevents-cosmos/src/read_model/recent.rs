//! Marks that this worker has lately written or met. After a redelivery copies come by the thousand, and
//! most of them need no request to be known as such.

use std::collections::{HashSet, VecDeque};

/// Most marks kept, some hundred bytes each.
const MAX_MARKS: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Recent {
    marks: HashSet<String>,
    /// The same, oldest first.
    order: VecDeque<String>,
}

impl Recent {
    pub(super) fn contains(&self, mark: &str) -> bool {
        self.marks.contains(mark)
    }

    pub(super) fn insert(&mut self, mark: String) {
        if !self.marks.insert(mark.clone()) {
            return;
        }
        self.order.push_back(mark);
        if self.order.len() > MAX_MARKS
            && let Some(oldest) = self.order.pop_front()
        {
            self.marks.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_marks_make_room_and_repeats_take_none() {
        let mut recent = Recent::default();
        for n in 0..MAX_MARKS {
            recent.insert(n.to_string());
            recent.insert("0".into());
        }
        assert!(recent.contains("0"));
        recent.insert("one more".into());
        assert!(!recent.contains("0") && recent.contains("1") && recent.contains("one more"));
        assert_eq!(recent.marks.len(), MAX_MARKS);
    }
}
