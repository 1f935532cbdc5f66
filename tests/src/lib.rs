//! What the end-to-end tests share: they run the `framefleet` binary as a user would, on clips that FFmpeg makes.
//!
//! ```text
//! Scratch ─► clip (ffmpeg) ─► Call ─► Ended ─► Job: rows, plan, summary, outcome
//!    ├► Server: HTTP, well behaved or not
//!    └► Disk: a small file system            └► agreement with other rows, or with ffprobe
//! ```
//!
//! The fleet's tests have a real Kafka [`Broker`], and a [`Proxy`] that disturbs the way to it:
//!
//! ```text
//! Broker ─► Fleet ─► Worker, a real process, with Orders for its system calls
//!   Footage ─┴► submit ─► Oracle: what must be so, whatever was done to the fleet
//! ```
//!
//! Those of Kubernetes have a real [`cluster::ControlPlane`], and nodes that run pods as processes of this machine:
//!
//! ```text
//! ControlPlane: etcd, API server, controllers, scheduler ─► Access: a client, kubectl, rights of a service account
//!    ├► Node, NodePool: nodes whose pods are real processes      └► ApiProxy: refuses and counts what is asked
//!    └► Kwok: hundreds of nodes whose pods are only said to run
//! ```
//!
//! Whatever a test needs and does not find makes it fail, with a message that says what to install or to build.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what tests share is test code too: it ends a test by panicking"
)]

pub mod repository;
pub mod scratch;
pub mod clip;
pub mod server;
pub mod tls_relay;
pub mod call;
pub mod job;
pub mod agreement;
pub mod disk;
pub mod fault;
pub mod wait;
pub mod random;
pub mod strace;
pub mod python;
pub mod keeper;
mod ports;
pub mod kafka;
pub mod proxy;
pub mod footage;
pub mod orders;
pub mod fleet;
pub mod oracle;
pub mod soak;
pub mod cluster;
pub mod scheduler;

pub use call::{Call, Detector, Ended};
pub use fleet::{Fleet, Worker};
pub use footage::Footage;
pub use job::Job;
pub use kafka::Broker;
pub use oracle::Oracle;
pub use orders::Orders;
pub use proxy::Proxy;
pub use scheduler::Pools;
pub use scratch::Scratch;
pub use server::{Manner, Server};
