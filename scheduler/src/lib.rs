//! Sizes fleets.
pub mod pool;
pub mod demand;
pub mod plan;
