//! What waits for a thread: a line in which sources take turns.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A bounded queue that several sources fill and several threads empty.
///
/// Who comes first is served first, but no source may have more than its share of the room in the line. So of sources
/// that all have work one gets as many turns as the other, and who comes with the first item waits for at most one
/// full line.
#[derive(Debug)]
pub(super) struct Line<T> {
    state: Mutex<State<T>>,
    /// For threads: something came, a source left, or the line was closed.
    came: Condvar,
    /// For sources: an item was taken.
    room: Condvar,
    capacity: usize,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<Waiting<T>>,
    sources: Vec<Source>,
    next_id: u64,
    /// How many sources have left.
    left: u64,
    closed: bool,
    idle: Idle,
}

#[derive(Debug)]
struct Waiting<T> {
    source: SourceId,
    since: Instant,
    item: T,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SourceId(u64);

#[derive(Debug)]
struct Source {
    id: SourceId,
    waiting: usize,
}

/// Seconds that threads waited, summed over them, up to a moment.
#[derive(Debug)]
struct Idle {
    threads: u32,
    seconds: f64,
    until: Instant,
}

/// What a thread comes back with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    Item(T),
    /// A source left since the last time: what was kept for it may go.
    SourceLeft,
    /// No batch began in the time that there was.
    Nothing,
    /// Nothing waits, and nothing will.
    Closed,
}

/// Which batch is wanted, and when it begins.
pub(super) struct Wish<'a, T> {
    /// How many items may go with this one.
    pub largest: &'a dyn Fn(&T) -> usize,
    /// Whether two items may go together.
    pub alike: &'a dyn Fn(&T, &T) -> bool,
    /// While others are under way, a batch that is not full begins when its first item has waited so long. While none is, it
    /// begins with what there is: more would come of waiting only what waits by itself while this one runs.
    pub deadline: Duration,
    /// For how long to wait, where others are under way; `None` where none is.
    pub patience: Option<Duration>,
}

/// Between two looks of a source that waits for room at whether it still wants to.
const PATIENCE: Duration = Duration::from_millis(50);

impl<T> Line<T> {
    /// A line with room for `capacity` items; for one of each source, where there are more sources.
    pub fn new(capacity: usize) -> Self {
        let state = State {
            waiting: VecDeque::with_capacity(capacity),
            sources: Vec::new(),
            next_id: 0,
            left: 0,
            closed: false,
            idle: Idle { threads: 0, seconds: 0.0, until: Instant::now() },
        };
        Self { state: Mutex::new(state), came: Condvar::new(), room: Condvar::new(), capacity }
    }

    pub fn join(&self) -> SourceId {
        let mut state = self.state();
        let id = SourceId(state.next_id);
        state.next_id += 1;
        state.sources.push(Source { id, waiting: 0 });
        id
    }

    /// Gives the source's share to the others. What it still has in the line stays.
    pub fn leave(&self, id: SourceId) {
        let mut state = self.state();
        state.sources.retain(|source| source.id != id);
        state.left += 1;
        drop(state);
        self.came.notify_all();
        self.room.notify_all();
    }

    /// Waits until the source has room for one more item. Gives the item back when `given_up` says so.
    pub fn push(&self, id: SourceId, item: T, given_up: impl Fn() -> bool) -> Result<(), T> {
        let mut state = self.state();
        while !state.has_room(id, self.capacity) {
            if given_up() {
                return Err(item);
            }
            state = self.room.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.count(id, |waiting| waiting + 1);
        state.waiting.push_back(Waiting { source: id, since: Instant::now(), item });
        drop(state);
        self.came.notify_one();
        Ok(())
    }

    /// Puts items in front of all others, in their order, whether there is room or not: they were taken before.
    pub fn put_back(&self, items: impl DoubleEndedIterator<Item = (SourceId, T)>) {
        let mut state = self.state();
        for (source, item) in items.rev() {
            state.count(source, |waiting| waiting + 1);
            state.waiting.push_front(Waiting { source, since: Instant::now(), item });
        }
        drop(state);
        self.came.notify_one();
    }

    /// Waits for the next item. `sources_left` is the thread's own memory of how many sources have left.
    pub fn next(&self, sources_left: &mut u64) -> Next<T> {
        let mut state = self.state();
        state.idle.change(|threads| threads + 1);
        let next = loop {
            if *sources_left != state.left {
                *sources_left = state.left;
                break Next::SourceLeft;
            }
            if let Some(item) = state.take(0) {
                break Next::Item(item);
            }
            if state.closed {
                break Next::Closed;
            }
            state = self.came.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.idle.change(|threads| threads - 1);
        drop(state);
        if matches!(next, Next::Item(_)) {
            self.room.notify_all();
        }
        next
    }

    /// Waits for the next batch, and puts it into `batch`: the items that may go with the first one, in their order.
    pub fn next_batch(&self, sources_left: &mut u64, wish: &Wish<'_, T>, batch: &mut Vec<T>) -> Next<()> {
        let patience_ends = wish.patience.map(|patience| Instant::now() + patience);
        let mut state = self.state();
        let idle = u32::from(wish.patience.is_none());
        state.idle.change(|threads| threads + idle);
        let next = loop {
            if *sources_left != state.left {
                *sources_left = state.left;
                break Next::SourceLeft;
            }
            let now = Instant::now();
            let begins = state.batch_begins(wish);
            if begins.is_some_and(|begins| state.closed || begins <= now) {
                state.take_batch(wish, batch);
                break Next::Item(());
            }
            match begins.into_iter().chain(patience_ends).min() {
                Some(_) if patience_ends.is_some_and(|ends| ends <= now) => break Next::Nothing,
                Some(until) => {
                    let waited = self.came.wait_timeout(state, until.saturating_duration_since(now));
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None if state.closed => break Next::Closed,
                None => state = self.came.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        };
        state.idle.change(|threads| threads - idle);
        drop(state);
        if matches!(next, Next::Item(())) {
            self.room.notify_all();
        }
        next
    }

    /// Sends the threads away once the line is empty.
    pub fn close(&self) {
        self.state().closed = true;
        self.came.notify_all();
    }

    /// For a thread that takes nothing any more.
    pub fn wait_until_closed(&self) {
        let waited = self.came.wait_while(self.state(), |state| !state.closed);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// How long threads have waited for an item until now, summed over them, in seconds.
    pub fn idle_s(&self) -> f64 {
        let mut state = self.state();
        state.idle.change(|threads| threads);
        state.idle.seconds
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn has_room(&self, id: SourceId, capacity: usize) -> bool {
        let share = (capacity / self.sources.len().max(1)).max(1);
        self.sources.iter().find(|source| source.id == id).is_none_or(|source| source.waiting < share)
    }

    fn take(&mut self, index: usize) -> Option<T> {
        let Waiting { source, item, .. } = self.waiting.remove(index)?;
        self.count(source, |waiting| waiting - 1);
        Some(item)
    }

    /// When the batch that the first item is in begins; `None` without an item.
    fn batch_begins(&self, wish: &Wish<'_, T>) -> Option<Instant> {
        let first = self.waiting.front()?;
        let largest = (wish.largest)(&first.item);
        let alike =
            self.waiting.iter().filter(|waiting| (wish.alike)(&first.item, &waiting.item)).take(largest).count();
        let at_once = wish.patience.is_none() || alike == largest;
        Some(if at_once { first.since } else { first.since + wish.deadline })
    }

    fn take_batch(&mut self, wish: &Wish<'_, T>, batch: &mut Vec<T>) {
        let Some(first) = self.take(0) else { return };
        let largest = (wish.largest)(&first);
        batch.push(first);
        let mut index = 0;
        while batch.len() < largest && index < self.waiting.len() {
            if (wish.alike)(&batch[0], &self.waiting[index].item) {
                batch.extend(self.take(index));
            } else {
                index += 1;
            }
        }
    }

    fn count(&mut self, id: SourceId, change: impl FnOnce(usize) -> usize) {
        if let Some(source) = self.sources.iter_mut().find(|source| source.id == id) {
            source.waiting = change(source.waiting);
        }
    }
}

impl Idle {
    fn change(&mut self, threads: impl FnOnce(u32) -> u32) {
        let now = Instant::now();
        self.seconds += f64::from(self.threads) * (now - self.until).as_secs_f64();
        self.until = now;
        self.threads = threads(self.threads);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: fn() -> bool = || true;

    fn item(next: Next<&'static str>) -> &'static str {
        match next {
            Next::Item(item) => item,
            other => panic!("{other:?}"),
        }
    }

    /// As many as are taken without waiting.
    fn fill(line: &Line<&'static str>, source: SourceId, item: &'static str) -> usize {
        (0..100).take_while(|_| line.push(source, item, NOW).is_ok()).count()
    }

    #[test]
    fn a_source_alone_has_the_whole_line() {
        let line = Line::new(4);
        let source = line.join();
        assert_eq!(fill(&line, source, "a"), 4);
    }

    #[test]
    fn sources_that_always_have_work_take_turns() {
        let line = Line::new(4);
        let greedy = line.join();
        assert_eq!(fill(&line, greedy, "greedy"), 4);
        let late = line.join();
        assert_eq!(fill(&line, late, "late"), 2, "the line of another is no hindrance");
        let mut left = 0;
        let mut taken = Vec::new();
        for _ in 0..40 {
            taken.push(item(line.next(&mut left)));
            fill(&line, greedy, "greedy");
            fill(&line, late, "late");
        }
        assert!(
            taken[4..].windows(4).all(|four| four.iter().filter(|item| **item == "late").count() == 2),
            "{taken:?}"
        );
    }

    #[test]
    fn more_sources_than_room_have_one_item_each() {
        let line = Line::new(2);
        let sources: Vec<SourceId> = (0..5).map(|_| line.join()).collect();
        assert!(sources.into_iter().all(|source| fill(&line, source, "a") == 1));
    }

    /// Even lengths go with even ones.
    fn batch(line: &Line<&'static str>, largest: usize, deadline_s: u64, busy: bool) -> Option<Vec<&'static str>> {
        let wish = Wish {
            largest: &|_| largest,
            alike: &|one: &&str, other: &&str| one.len() % 2 == other.len() % 2,
            deadline: Duration::from_secs(deadline_s),
            patience: busy.then_some(Duration::ZERO),
        };
        let (mut left, mut items) = (line.state().left, Vec::new());
        match line.next_batch(&mut left, &wish, &mut items) {
            Next::Item(()) => Some(items),
            Next::Nothing => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_batch_is_of_one_kind_in_the_order_in_which_it_came() {
        let line = Line::new(10);
        let source = line.join();
        for item in ["a", "bb", "c", "dd", "e", "f"] {
            line.push(source, item, NOW).unwrap();
        }
        assert_eq!(batch(&line, 3, 0, false).unwrap(), ["a", "c", "e"]);
        assert_eq!(batch(&line, 3, 0, false).unwrap(), ["bb", "dd"]);
        assert_eq!(batch(&line, 3, 0, false).unwrap(), ["f"]);
        assert!(line.state().sources.iter().all(|source| source.waiting == 0));
    }

    #[test]
    fn while_others_run_a_batch_waits_until_it_is_full_or_due() {
        let line = Line::new(10);
        let source = line.join();
        line.push(source, "a", NOW).unwrap();
        assert_eq!(batch(&line, 2, 1000, true), None, "it may be filled yet");
        assert_eq!(batch(&line, 2, 0, true).unwrap(), ["a"], "it is due");
        line.push(source, "b", NOW).unwrap();
        assert_eq!(batch(&line, 2, 1000, true), None);
        line.push(source, "c", NOW).unwrap();
        assert_eq!(batch(&line, 2, 1000, true).unwrap(), ["b", "c"], "it is full");
        line.push(source, "d", NOW).unwrap();
        assert_eq!(batch(&line, 2, 1000, false).unwrap(), ["d"], "nothing else runs");
        line.push(source, "e", NOW).unwrap();
        line.close();
        assert_eq!(batch(&line, 2, 1000, true).unwrap(), ["e"], "nothing more comes");
    }

    #[test]
    fn a_batch_holds_as_much_of_one_source_as_of_another() {
        let line = Line::new(8);
        let (greedy, late) = (line.join(), line.join());
        for _ in 0..10 {
            fill(&line, greedy, "greedy");
            fill(&line, late, "latest");
            let taken = batch(&line, 8, 0, false).unwrap();
            assert_eq!(taken.iter().filter(|item| **item == "latest").count(), 4, "{taken:?}");
        }
    }

    #[test]
    fn what_is_put_back_comes_first_again() {
        let line = Line::new(4);
        let source = line.join();
        for item in ["a", "b", "c"] {
            line.push(source, item, NOW).unwrap();
        }
        let taken = batch(&line, 2, 0, false).unwrap();
        line.put_back(taken.into_iter().map(|item| (source, item)));
        assert_eq!(batch(&line, 1, 0, false).unwrap(), ["a"]);
        assert_eq!(batch(&line, 4, 0, false).unwrap(), ["b", "c"]);
    }

    #[test]
    fn who_leaves_gives_its_share_back_and_is_told_of() {
        let line = Line::new(4);
        let (one, other) = (line.join(), line.join());
        assert_eq!(fill(&line, one, "one"), 2);
        line.leave(other);
        assert_eq!(fill(&line, one, "one"), 2);
        let mut left = 0;
        assert_eq!(line.next(&mut left), Next::SourceLeft);
        assert_eq!(line.next(&mut left), Next::Item("one"));
    }

    #[test]
    fn a_closed_line_is_emptied_first() {
        let line = Line::new(2);
        let source = line.join();
        assert_eq!(fill(&line, source, "a"), 2);
        line.close();
        let mut left = 0;
        let seen: Vec<_> = (0..3).map(|_| line.next(&mut left)).collect();
        assert_eq!(seen, [Next::Item("a"), Next::Item("a"), Next::Closed]);
    }

    #[test]
    fn a_source_that_waits_goes_on_when_an_item_is_taken() {
        let line = Line::new(1);
        let source = line.join();
        assert_eq!(fill(&line, source, "first"), 1);
        std::thread::scope(|scope| {
            scope.spawn(|| line.push(source, "second", || false).unwrap());
            let mut left = 0;
            assert_eq!(item(line.next(&mut left)), "first");
            assert_eq!(item(line.next(&mut left)), "second");
        });
    }

    #[test]
    fn only_waiting_for_an_item_is_idle() {
        let line: Line<&str> = Line::new(1);
        let source = line.join();
        assert_eq!(fill(&line, source, "a"), 1);
        line.next(&mut 0);
        let before = line.idle_s();
        std::thread::scope(|scope| {
            scope.spawn(|| line.next(&mut 0));
            let deadline = Instant::now() + Duration::from_mins(1);
            while line.idle_s() < before + 0.01 {
                assert!(Instant::now() < deadline, "nobody is idle");
                std::thread::yield_now();
            }
            line.close();
        });
        let after = line.idle_s();
        assert!(line.idle_s() <= after, "nobody waits any more");
    }
}
