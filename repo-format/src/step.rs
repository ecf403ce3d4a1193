//! Decoders that need several reads, without doing any.

/// What a multi-step decoder answers: give me this range, or here is the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// Bytes `start..end` of the object are needed; call again with exactly these.
    Need {
        /// First byte needed.
        start: u64,
        /// One past the last byte needed.
        end: u64,
    },
    /// The value is complete.
    Done(T),
}
