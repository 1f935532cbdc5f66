//! As many workers as somebody once thought right.

use super::{Order, Policy, World};
use serde::Serialize;

#[derive(Debug, Clone, Serialize)]
pub struct Fixed {
    /// By pool.
    pub workers: Vec<u32>,
}

impl Policy for Fixed {
    fn period(&self) -> f64 {
        60.0
    }

    fn decide(&mut self, _: &World<'_>) -> Vec<Order> {
        let resize = |(pool, replicas): (usize, &u32)| Order::Resize { pool, replicas: *replicas };
        self.workers.iter().enumerate().map(resize).collect()
    }

    fn wanted(&self) -> u32 {
        self.workers.iter().sum()
    }
}
