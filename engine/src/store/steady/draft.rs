//! An object being assembled in memory.

use async_trait::async_trait;
use bytes::Bytes;

use super::{Draft, Existing, Failure, Key, Layout, Line, PutRules, StoreError};

/// A hint beyond this is not believed before the bytes come.
const MOST_RESERVED_BYTES: u64 = 1 << 20;

/// Bytes that go to the server in one put.
#[derive(Debug)]
pub(super) struct Gathered {
    line: Line,
    layout: Layout,
    expected: usize,
    may_be_cold: bool,
    bytes: Vec<u8>,
}

impl Gathered {
    pub(super) fn new(line: Line, layout: Layout, expected_bytes: u64) -> Self {
        let expected = usize::try_from(expected_bytes.min(MOST_RESERVED_BYTES)).unwrap_or(0);
        Self { line, layout, expected, may_be_cold: false, bytes: Vec::new() }
    }
}

#[async_trait]
impl Draft for Gathered {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(self.expected);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn read_back(&mut self) -> Result<Bytes, StoreError> {
        Ok(Bytes::copy_from_slice(&self.bytes))
    }

    fn may_be_cold(&mut self) {
        self.may_be_cold = true;
    }

    async fn commit(self: Box<Self>, key: &Key, existing: Existing) -> Result<(), StoreError> {
        let name = self.layout.path(key).ok_or_else(|| {
            let why = "this kind of repository has no place for such a name";
            StoreError::new(Failure::Permanent, "write", key.as_str(), why)
        })?;
        let rules = PutRules { existing, may_be_cold: self.may_be_cold };
        self.line.0.put(&name, Bytes::from(self.bytes), rules).await
    }
}
