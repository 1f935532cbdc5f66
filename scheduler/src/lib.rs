//! Sizes `FrameFleet`'s pools of workers to the work that waits.
//!
//! ```text
//! Kafka ─► demand ──────────────┐
//! watches ─► cluster ─► observe ┴► plan ─► workloads ─► reconcile ─► Jobs, Deployments, statuses, Events
//!                                            lease: who of several schedulers acts
//! ```
//!
//! [`plan`], [`observe`], [`workloads`] and [`conditions`] are pure; [`simulate`] runs [`plan`] against a cluster that is not
//! there. Nothing is linked that decodes video or runs models.

pub mod pool;
pub mod demand;
pub mod plan;
pub mod observe;
pub mod workloads;
pub mod conditions;
pub mod fleets;
pub mod cluster;
pub mod lease;
pub mod reconcile;
pub mod simulate;
pub mod health;
pub mod metrics;
pub mod seconds;
pub mod cli;
