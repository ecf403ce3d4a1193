//! What the benchmarks share. The benchmarks themselves are under `benches/`.

pub mod data;
pub mod repository;
