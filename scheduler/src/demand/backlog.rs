//! The messages of one queue that its group has not finished, and the work that they still ask for. Pure.
//!
//! Held for each message are 16 bytes and for each piece of work 32 and its place in a table, so that a million take less than
//! 100 MB. What is asked of jobs may change at any time, so that what waits is added up anew whenever somebody wants to know:
//! a million pieces in some 20 ms.

use super::jobs::{JobNumber, Jobs, Second};
use super::kinds::{Kind, KindNumber, Kinds};
use super::{Model, Work};
use std::collections::{HashMap, VecDeque};

/// Which words on a job make its messages nobody's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Every message: each wants an answer. Of a job that was cancelled, that is its outcome.
    All,
    /// Not those of jobs that have ended or were cancelled.
    OfOpenJobs,
    /// Of these only segments that are not published.
    Unpublished,
}

/// A message of the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub partition: i32,
    pub offset: i64,
    pub at: Second,
    /// What it asks for. A message that asks for the same as another one is no more work; one that cannot be read is alone.
    pub piece: Option<(JobNumber, u32)>,
    pub units: u32,
    pub kind: Kind,
}

/// What workers have in hand: units of a piece that are done.
pub type InHand = HashMap<(JobNumber, u32), u64>;

#[derive(Debug)]
pub struct Backlog {
    counted: Counted,
    partitions: Vec<Partition>,
    pieces: Vec<Piece>,
    free: Vec<PieceNumber>,
    numbers: HashMap<(JobNumber, u32), PieceNumber>,
    /// Of pieces that were asked for more than once, all messages but the first.
    again: HashMap<PieceNumber, Vec<Asked>>,
    kinds: Kinds,
}

type PieceNumber = u32;

#[derive(Debug, Default)]
struct Partition {
    committed: i64,
    /// Behind the last message that was taken.
    next: i64,
    messages: VecDeque<(i64, PieceNumber)>,
}

/// A piece of work that waits.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// `None` of messages that are alone.
    job: Option<JobNumber>,
    segment: u32,
    /// The message by which it came first.
    first: Asked,
}

/// One message that asks for a piece. In the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    at: Second,
    partition: u32,
    offset: i64,
    units: u32,
    kind: KindNumber,
}

impl Asked {
    /// Of a piece that is no more.
    const FREE: u32 = u32::MAX;
}

/// Pieces that are alike and came in the same minute.
#[derive(Debug)]
struct Group {
    kind: KindNumber,
    units: u64,
    done: u64,
    items: u32,
    since: Second,
}

impl Backlog {
    pub fn new(counted: Counted) -> Self {
        Self {
            counted,
            partitions: Vec::new(),
            pieces: Vec::new(),
            free: Vec::new(),
            numbers: HashMap::new(),
            again: HashMap::new(),
            kinds: Kinds::default(),
        }
    }

    /// Takes a message that was read. Those of a partition come in order; one that came before, or is finished, is passed
    /// over.
    pub fn take(&mut self, jobs: &mut Jobs, message: &Message) {
        let Some(partition) = self.partition(message.partition) else { return };
        if message.offset < partition.next.max(partition.committed) {
            return;
        }
        partition.next = message.offset + 1;
        let asked = Asked {
            at: message.at,
            partition: message.partition as u32,
            offset: message.offset,
            units: message.units,
            kind: self.kinds.hold(&message.kind),
        };
        if let Some((job, _)) = message.piece {
            jobs.hold(job);
        }
        let known = message.piece.and_then(|piece| self.numbers.get(&piece).copied());
        let number = match known {
            Some(number) => self.ask_again(number, asked),
            None => self.add(message.piece, asked),
        };
        if let Some(partition) = self.partition(message.partition) {
            partition.messages.push_back((message.offset, number));
        }
    }

    /// The group has finished everything before this offset of the partition.
    pub fn commit(&mut self, jobs: &mut Jobs, partition: i32, committed: i64) {
        let place = partition;
        let Some(partition) = self.partition(place) else { return };
        partition.committed = committed.max(partition.committed);
        loop {
            let Some(partition) = self.partition(place) else { return };
            let committed = partition.committed;
            let Some((offset, number)) = partition.messages.pop_front_if(|(offset, _)| *offset < committed) else {
                return;
            };
            self.finish(jobs, number, place as u32, offset);
        }
    }

    /// What waits, in the order in which it came, without the units that are done of what is in hand.
    pub fn waiting(&self, jobs: &Jobs, in_hand: &InHand) -> Vec<Work> {
        let mut groups: Vec<Group> = Vec::new();
        let mut places: HashMap<(KindNumber, Second), usize> = HashMap::new();
        // Most pieces are of the group of the one before.
        let mut last = None;
        for asked in (0..).zip(&self.pieces).filter_map(|(number, piece)| self.asked(number, piece, jobs)) {
            let key = (asked.kind, asked.at / 60);
            let place = match last {
                Some((known, place)) if known == key => place,
                _ => *places.entry(key).or_insert_with(|| {
                    groups.push(Group { kind: key.0, units: 0, done: 0, items: 0, since: Second::MAX });
                    groups.len() - 1
                }),
            };
            last = Some((key, place));
            let group = &mut groups[place];
            group.units += u64::from(asked.units);
            group.items += 1;
            group.since = group.since.min(asked.at);
        }
        for (name, done) in in_hand {
            let number = self.numbers.get(name).copied();
            if let Some(asked) = number.and_then(|number| self.asked(number, &self.pieces[number as usize], jobs))
                && let Some(place) = places.get(&(asked.kind, asked.at / 60))
            {
                groups[*place].done += (*done).min(u64::from(asked.units));
            }
        }
        self.in_order(groups)
    }

    /// When the oldest message came that is held.
    pub fn oldest(&self) -> Option<Second> {
        let held = self.pieces.iter().filter(|piece| piece.first.partition != Asked::FREE);
        held.map(|piece| piece.first.at).min()
    }

    /// The first message that asks for the piece and still has a reason to.
    fn asked(&self, number: PieceNumber, piece: &Piece, jobs: &Jobs) -> Option<Asked> {
        if piece.first.partition == Asked::FREE {
            return None;
        }
        let Some(job) = piece.job.filter(|_| self.counted != Counted::All) else { return Some(piece.first) };
        if self.counted == Counted::Unpublished && jobs.is_published(job, piece.segment) {
            return None;
        }
        let is_wanted = |asked: &Asked| jobs.is_wanted(job, asked.at);
        if is_wanted(&piece.first) {
            return Some(piece.first);
        }
        // The first may be of a job that was removed, and another one of the job that has its id now.
        self.again.get(&number)?.iter().copied().filter(is_wanted).min()
    }

    fn in_order(&self, mut groups: Vec<Group>) -> Vec<Work> {
        let kind = |group: &Group| self.kinds.get(group.kind);
        groups.sort_by(|a, b| a.since.cmp(&b.since).then_with(|| kind(a).cmp(&kind(b))));
        let work = |group: &Group| {
            let kind = self.kinds.get(group.kind)?;
            Some(Work {
                model: kind.model.clone(),
                units: (group.units - group.done) as f64,
                items: group.items,
                since: f64::from(group.since),
                deadline: kind.deadline_ms.map(|ms| ms as f64 / 1000.0),
                memory: kind.memory,
            })
        };
        groups.iter().filter_map(work).collect()
    }

    fn partition(&mut self, partition: i32) -> Option<&mut Partition> {
        let place = usize::try_from(partition).ok()?;
        if place >= self.partitions.len() {
            self.partitions.resize_with(place + 1, Partition::default);
        }
        self.partitions.get_mut(place)
    }

    fn add(&mut self, name: Option<(JobNumber, u32)>, first: Asked) -> PieceNumber {
        let piece = Piece { job: name.map(|(job, _)| job), segment: name.map_or(0, |(_, segment)| segment), first };
        let number = if let Some(number) = self.free.pop() {
            self.pieces[number as usize] = piece;
            number
        } else {
            self.pieces.push(piece);
            (self.pieces.len() - 1) as PieceNumber
        };
        if let Some(name) = name {
            self.numbers.insert(name, number);
        }
        number
    }

    fn ask_again(&mut self, number: PieceNumber, asked: Asked) -> PieceNumber {
        let piece = &mut self.pieces[number as usize];
        let later = asked.max(piece.first);
        piece.first = asked.min(piece.first);
        self.again.entry(number).or_default().push(later);
        number
    }

    /// One message that asked for the piece is finished.
    fn finish(&mut self, jobs: &mut Jobs, number: PieceNumber, partition: u32, offset: i64) {
        let piece = &mut self.pieces[number as usize];
        if let Some(job) = piece.job {
            jobs.let_go(job);
        }
        let is_it = |asked: &Asked| asked.partition == partition && asked.offset == offset;
        if let Some(again) = self.again.get_mut(&number) {
            // The first gives its place to the next one.
            let next = again.iter().position(is_it).or_else(|| (0..again.len()).min_by_key(|place| again[*place]));
            let next = next.map(|place| again.swap_remove(place));
            if again.is_empty() {
                self.again.remove(&number);
            }
            let Some(mut gone) = next else { return };
            if !is_it(&gone) {
                std::mem::swap(&mut piece.first, &mut gone);
            }
            self.kinds.let_go(gone.kind);
            return;
        }
        self.kinds.let_go(piece.first.kind);
        piece.first.partition = Asked::FREE;
        if let Some(job) = piece.job {
            self.numbers.remove(&(job, piece.segment));
        }
        self.free.push(number);
    }
}

/// As [`Kind`], of messages for which nothing is inferred.
pub fn without_inference(model: Model) -> Kind {
    Kind { model, deadline_ms: None, memory: None }
}

#[cfg(test)]
mod tests;
