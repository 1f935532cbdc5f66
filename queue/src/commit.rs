//! Which offset of a partition can be committed: the one behind the finished prefix. Pure.

use std::collections::BTreeSet;

/// The messages of one partition that were handed out, and which of them are finished, in any order.
///
/// A committed offset is the next one to be read, so everything before it must be finished. Messages are handed out in
/// the order of their offsets, which may have gaps: of a log, compaction and transactions take some away.
#[derive(Debug, Clone, Default)]
pub struct Prefix {
    /// Handed out and not finished.
    open: BTreeSet<i64>,
    /// Behind the last message that was handed out.
    end: Option<i64>,
    committed: Option<i64>,
}

impl Prefix {
    /// A message was handed out.
    pub fn begin(&mut self, offset: i64) {
        self.open.insert(offset);
        self.end = self.end.max(Some(offset + 1));
    }

    /// A message is finished: its effects are durable, and what follows from it was acknowledged.
    pub fn finish(&mut self, offset: i64) {
        self.open.remove(&offset);
    }

    /// The offset to commit, if it is another one than was committed last.
    pub fn committable(&self) -> Option<i64> {
        let next = self.open.first().copied().or(self.end);
        next.filter(|_| next > self.committed)
    }

    /// The broker has it.
    pub fn committed(&mut self, offset: i64) {
        self.committed = self.committed.max(Some(offset));
    }

    /// Messages that were handed out and are not finished.
    pub fn open(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_finished_out_of_turn_waits_for_what_is_before_it() {
        let mut prefix = Prefix::default();
        assert_eq!(prefix.committable(), None);
        for offset in [5, 6, 9] {
            prefix.begin(offset);
        }
        prefix.finish(9);
        prefix.finish(6);
        assert_eq!(prefix.committable(), Some(5), "where it began");
        prefix.finish(5);
        assert_eq!(prefix.committable(), Some(10));
        prefix.committed(10);
        assert_eq!(prefix.committable(), None);
    }

    proptest! {
        /// Handing out and finishing in any order: nothing unfinished is ever behind the committed offset, it never goes
        /// back, and in the end everything is committed.
        #[test]
        fn nothing_unfinished_is_committed(
            gaps in proptest::collection::vec(1i64..4, 1..40),
            order in proptest::collection::vec(any::<proptest::sample::Index>(), 200),
            begun_first in any::<bool>(),
        ) {
            let offsets: Vec<i64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let mut prefix = Prefix::default();
            let mut waiting = offsets.clone();
            let mut open: Vec<i64> = Vec::new();
            let mut finished: Vec<i64> = Vec::new();
            let mut last = 0;
            waiting.reverse();
            for choice in order {
                let begins = !waiting.is_empty() && (open.is_empty() || begun_first || choice.index(2) == 0);
                if begins {
                    let offset = waiting.pop().expect("it is not empty");
                    prefix.begin(offset);
                    open.push(offset);
                } else if !open.is_empty() {
                    let offset = open.swap_remove(choice.index(open.len()));
                    prefix.finish(offset);
                    finished.push(offset);
                }
                if let Some(next) = prefix.committable() {
                    prop_assert!(next > last);
                    prop_assert!(open.iter().all(|offset| *offset >= next));
                    prop_assert!(waiting.iter().all(|offset| *offset >= next));
                    last = next;
                    prefix.committed(next);
                }
            }
            if waiting.is_empty() && open.is_empty() {
                prop_assert_eq!(last, offsets.last().map_or(0, |offset| offset + 1));
            }
            prop_assert_eq!(prefix.open(), open.len());
        }
    }
}
