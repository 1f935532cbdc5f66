//! A queue's topic: partitions, and who of the group has which.

use framefleet_queue::spread::Spread;
use std::collections::{BTreeMap, VecDeque};

#[derive(Debug)]
pub struct Topic {
    partitions: Vec<Partition>,
    /// The partitions of every member of the group.
    members: BTreeMap<u32, Vec<u32>>,
    spread: Spread,
    waiting: u32,
}

#[derive(Debug, Default)]
struct Partition {
    owner: Option<u32>,
    /// Messages that nobody has in hand: when they came, and which segments.
    waiting: VecDeque<(f64, u32)>,
}

impl Topic {
    pub fn new(name: &str, partitions: u32) -> Self {
        Self {
            partitions: (0..partitions).map(|_| Partition::default()).collect(),
            members: BTreeMap::new(),
            spread: Spread::new(name),
            waiting: 0,
        }
    }

    /// Gives the owner of the partition, if there is one.
    pub fn publish(&mut self, segment: u32, now: f64) -> Option<u32> {
        let partition = self.spread.next(self.partitions.len() as u32) as usize;
        self.waiting += 1;
        self.partitions[partition].waiting.push_back((now, segment));
        self.partitions[partition].owner
    }

    /// What somebody had in hand is read again from where it was committed. Gives who reads it.
    pub fn hand_back(&mut self, segment: u32, came: f64) -> Option<u32> {
        self.waiting += 1;
        let partition = self.spread.next(self.partitions.len() as u32) as usize;
        self.partitions[partition].waiting.push_front((came, segment));
        self.partitions[partition].owner
    }

    /// The oldest message in a member's partitions.
    pub fn oldest(&self, member: u32) -> Option<f64> {
        self.oldest_partition(member).map(|(came, _)| came)
    }

    pub fn take(&mut self, member: u32) -> Option<(f64, u32)> {
        let (_, partition) = self.oldest_partition(member)?;
        self.waiting -= 1;
        self.partitions[partition as usize].waiting.pop_front()
    }

    fn oldest_partition(&self, member: u32) -> Option<(f64, u32)> {
        let front = |partition: u32| Some((self.partitions[partition as usize].waiting.front()?.0, partition));
        let mine = self.members.get(&member)?;
        mine.iter().filter_map(|partition| front(*partition)).min_by(|a, b| a.0.total_cmp(&b.0))
    }

    pub fn waiting(&self) -> u32 {
        self.waiting
    }

    pub fn join(&mut self, member: u32) {
        self.members.insert(member, Vec::new());
        self.balance();
    }

    pub fn leave(&mut self, member: u32) {
        for partition in self.members.remove(&member).into_iter().flatten() {
            self.partitions[partition as usize].owner = None;
        }
        self.balance();
    }

    pub fn members(&self) -> impl Iterator<Item = u32> {
        self.members.keys().copied()
    }

    /// Cooperative and sticky: each keeps what it has, up to an equal part.
    fn balance(&mut self) {
        if self.members.is_empty() {
            return;
        }
        let (part, more) = (self.partitions.len() / self.members.len(), self.partitions.len() % self.members.len());
        let mut by_size: Vec<u32> = self.members.keys().copied().collect();
        by_size.sort_by_key(|member| std::cmp::Reverse(self.members[member].len()));
        let parts: Vec<(u32, usize)> =
            by_size.into_iter().enumerate().map(|(n, member)| (member, part + usize::from(n < more))).collect();
        for (member, part) in &parts {
            let mine = self.members.get_mut(member).expect("it is one of the keys");
            for partition in mine.drain((*part).min(mine.len())..) {
                self.partitions[partition as usize].owner = None;
            }
        }
        let free = (0..self.partitions.len() as u32).filter(|n| self.partitions[*n as usize].owner.is_none());
        let mut free: Vec<u32> = free.collect();
        free.reverse();
        for (member, part) in parts {
            let mine = self.members.get_mut(&member).expect("it is one of the keys");
            while mine.len() < part {
                let Some(partition) = free.pop() else { break };
                mine.push(partition);
                self.partitions[partition as usize].owner = Some(member);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_get_equal_parts_and_keep_what_they_have() {
        let mut topic = Topic::new("normal", 96);
        for member in 0..7 {
            topic.join(member);
        }
        let sizes: Vec<usize> = topic.members.values().map(Vec::len).collect();
        assert_eq!(
            (sizes.iter().sum::<usize>(), *sizes.iter().min().unwrap(), *sizes.iter().max().unwrap()),
            (96, 13, 14)
        );
        let before = topic.members[&0].clone();
        topic.leave(6);
        assert!(before.iter().all(|partition| topic.members[&0].contains(partition)));
        assert_eq!(topic.members.values().map(Vec::len).sum::<usize>(), 96);
    }

    #[test]
    fn the_oldest_message_of_a_member_is_taken_first_and_others_are_not_its_own() {
        let mut topic = Topic::new("normal", 2);
        topic.join(1);
        topic.join(2);
        let owners: Vec<u32> = (0..40).map(|n| topic.publish(n, f64::from(n)).unwrap()).collect();
        let first_of_1 = owners.iter().position(|owner| *owner == 1).unwrap() as u32;
        assert_eq!(topic.take(1), Some((f64::from(first_of_1), first_of_1)));
        while topic.take(1).is_some() {}
        assert_eq!(topic.waiting() as usize, owners.iter().filter(|owner| **owner == 2).count());
    }

    #[test]
    fn a_member_beyond_the_partitions_gets_nothing() {
        let mut topic = Topic::new("normal", 2);
        for member in 0..3 {
            topic.join(member);
        }
        topic.publish(0, 0.0);
        topic.publish(1, 0.0);
        let taken = (0..3).filter(|member| topic.oldest(*member).is_some()).count();
        assert!(taken <= 2 && topic.members[&2].is_empty());
    }
}
