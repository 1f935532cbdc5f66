//! FrameFleet's side of Kafka.
//!
//! ```text
//! client ─► jobs ─► [ plan ] ─► segments.<queue> ─► [ detect ] ─► finish ─► [ finish ] ─► outcomes ─► client
//!                                                                              │
//!             control (cancel) ─► every worker          status ◄───────────────┴─► dead-letters
//! ```
//!
//! [`Consumer`] hands out messages and commits what is finished; [`Publisher`] sends and waits until the broker has it;
//! [`Reader`] reads a whole topic and goes on; [`client`] is what users of a fleet need. Correctness rests on files that are
//! put if absent, not on Kafka: any message may come twice.

pub mod connection;
pub mod topics;
pub mod commit;
pub mod turns;
pub mod consume;
pub mod spread;
pub mod publish;
mod reach;
pub mod offsets;
pub mod read;
pub mod lag;
pub mod board;
pub mod roster;
pub mod client;
pub mod retry;
mod error;

pub use connection::Connection;
pub use consume::{Consumer, Delivery};
pub use error::QueueError;
pub use publish::{Outgoing, Publisher};
pub use read::{Reader, Record};
pub use topics::Topics;
