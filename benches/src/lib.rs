//! What more than one of the benchmarks measures with.

pub mod crowd;
pub mod machine;
pub mod series;
