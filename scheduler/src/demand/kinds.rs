//! What pieces of work have in common, each of it once, whatever the number of pieces. Pure.

use super::Model;
use std::collections::HashMap;

/// Of a piece of work, what it costs by, when it is due and what it needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    pub model: Model,
    /// Milliseconds since 1970.
    pub deadline_ms: Option<i64>,
    /// Bytes.
    pub memory: Option<u64>,
}

/// A kind by a number that is its own for as long as it is held.
pub type KindNumber = u32;

#[derive(Debug, Default)]
pub struct Kinds {
    numbers: HashMap<Kind, KindNumber>,
    held: Vec<Option<Held>>,
    free: Vec<KindNumber>,
    last: Option<KindNumber>,
}

#[derive(Debug)]
struct Held {
    kind: Kind,
    times: u64,
}

impl Kinds {
    /// The number of a kind, which is held from now on, once more.
    pub fn hold(&mut self, kind: &Kind) -> KindNumber {
        // Most pieces are like the one before.
        let last = self.last.filter(|last| self.get(*last) == Some(kind));
        let number = last.or_else(|| self.numbers.get(kind).copied()).unwrap_or_else(|| self.add(kind));
        self.last = Some(number);
        if let Some(held) = self.held[number as usize].as_mut() {
            held.times += 1;
        }
        number
    }

    pub fn let_go(&mut self, number: KindNumber) {
        let place = &mut self.held[number as usize];
        let Some(held) = place else { return };
        held.times -= 1;
        if held.times == 0 {
            self.numbers.remove(&held.kind);
            *place = None;
            self.free.push(number);
        }
    }

    pub fn get(&self, number: KindNumber) -> Option<&Kind> {
        self.held.get(number as usize)?.as_ref().map(|held| &held.kind)
    }

    fn add(&mut self, kind: &Kind) -> KindNumber {
        let number = self.free.pop().unwrap_or_else(|| {
            self.held.push(None);
            (self.held.len() - 1) as KindNumber
        });
        self.held[number as usize] = Some(Held { kind: kind.clone(), times: 0 });
        self.numbers.insert(kind.clone(), number);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_kinds_have_one_number_while_any_is_held() {
        let kind = |deadline_ms| Kind { model: Model::new("m"), deadline_ms, memory: None };
        let mut kinds = Kinds::default();
        let [soon, never, again] = [Some(1), None, Some(1)].map(|deadline| kinds.hold(&kind(deadline)));
        assert!(soon == again && soon != never);
        kinds.let_go(soon);
        assert_eq!(kinds.get(soon), Some(&kind(Some(1))));
        kinds.let_go(again);
        assert_eq!((kinds.get(soon), kinds.get(never)), (None, Some(&kind(None))));
        assert_eq!(kinds.hold(&kind(Some(2))), soon, "its number is given again");
        assert_eq!(kinds.numbers.len(), 2);
    }
}
