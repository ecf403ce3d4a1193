//! What a program that embeds the engine can do for its memory, once, at the start of `main`.

pub use windlass_lanes::heap::return_large_blocks;
