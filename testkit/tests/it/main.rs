//! The test doubles do what they say; otherwise tests that use them prove nothing.

mod doubles;
mod trees;
