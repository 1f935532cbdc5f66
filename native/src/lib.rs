//! The only crate with `unsafe`.
pub mod picture;
