//! The one call of librdkafka that its Rust crate does not offer.
//!
//! It is not part of `framefleet-native`, so that what speaks with Kafka alone, such as the scheduler, is not linked with
//! FFmpeg.

#![allow(unsafe_code)]

use rdkafka::bindings::rd_kafka_brokers_add;
use rdkafka::client::{Client, ClientContext};
use std::ffi::CStr;

/// Tells a client of brokers that it can ask, as `bootstrap.servers` did when it was made. Those that it knows already are
/// passed over. Gives how many are new to it.
pub fn add_brokers<C: ClientContext>(client: &Client<C>, brokers: &CStr) -> usize {
    // SAFETY: the handle is valid as long as `client` is borrowed, the list ends with a zero byte, and librdkafka, which
    // copies it, allows the call on any thread.
    let added = unsafe { rd_kafka_brokers_add(client.native_ptr(), brokers.as_ptr()) };
    usize::try_from(added).unwrap_or(0)
}
