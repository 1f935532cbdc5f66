//! Reads ranges of files over HTTP, from addresses that were checked and from no others.
//!
//! ```text
//! SourceUrl ─► Fetcher (resolver ► addresses ► connection) ─► Remote (redirects, retries, versions) ─► RemoteFile (blocks)
//! ```
//!
//! Names are resolved here, every address that comes out is checked, and the connection goes to those very addresses: a
//! name that resolves to another address a moment later changes nothing.

mod address;
mod answer;
mod client;
mod error;
mod redirect;
mod remote;
mod remote_file;
mod resolver;

pub use address::{AddressRules, Network};
pub use client::Fetcher;
pub use error::FetchError;
pub use remote_file::RemoteFile;
