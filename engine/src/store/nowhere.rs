//! A store that keeps nothing, for dry runs: what is written vanishes, and nothing can be read.

use async_trait::async_trait;
use bytes::Bytes;

use super::{Backend, Capabilities, Draft, Existing, Failure, Key, Listed, Range, StoreError};

/// Keeps nothing.
#[derive(Clone, Copy, Debug)]
pub struct Nowhere;

impl Nowhere {
    fn nothing(action: &'static str, key: &Key) -> StoreError {
        StoreError::new(Failure::NotFound, action, key.as_str(), "this store keeps nothing")
    }
}

#[async_trait]
impl Draft for Nowhere {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let _vanishes = bytes;
        Ok(())
    }

    fn read_back(&mut self) -> Result<Bytes, StoreError> {
        Ok(Bytes::new())
    }

    async fn commit(self: Box<Self>, key: &Key, existing: Existing) -> Result<(), StoreError> {
        let _vanishes = (key, existing);
        Ok(())
    }
}

#[async_trait]
impl Backend for Nowhere {
    fn location(&self) -> String {
        "nowhere".to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { lists_at_once: false, connections: 1, remote: false }
    }

    async fn create(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn list(
        &self,
        prefix: &str,
        each: &mut (dyn FnMut(Listed) + Send),
    ) -> Result<(), StoreError> {
        let _nothing_to_list = (prefix, each);
        Ok(())
    }

    async fn stat(&self, key: &Key) -> Result<Listed, StoreError> {
        Err(Self::nothing("stat", key))
    }

    async fn read(&self, key: &Key, range: Range) -> Result<Bytes, StoreError> {
        let _any = range;
        Err(Self::nothing("read", key))
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        Err(Self::nothing("delete", key))
    }

    fn draft(&self, expected_bytes: u64) -> Result<Box<dyn Draft>, StoreError> {
        let _any = expected_bytes;
        Ok(Box::new(*self))
    }
}
