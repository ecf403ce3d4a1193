//! What a login gave, for as long as it is taken.
//!
//! Invariants: those who ask at the same time wait for one login; whoever finds that it is not taken
//! any more lets go of what it used itself, and of nothing newer.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::store::StoreError;

/// A session, or none yet.
#[derive(Debug)]
pub(in crate::store) struct Kept<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Kept<T> {
    /// The session that there is if it is still good, else what `log_in` gives.
    pub(in crate::store) async fn get(
        &self,
        is_good: impl Fn(&T) -> bool,
        log_in: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<Arc<T>, StoreError> {
        let mut session = self.0.lock().await;
        if let Some(session) = session.as_ref().filter(|session| is_good(session)) {
            return Ok(Arc::clone(session));
        }
        Ok(Arc::clone(session.insert(Arc::new(log_in.await?))))
    }

    /// Lets go of one that is not taken any more, unless another call has done so before.
    pub(in crate::store) async fn lose(&self, old: &Arc<T>) {
        let mut session = self.0.lock().await;
        if session.as_ref().is_some_and(|session| Arc::ptr_eq(session, old)) {
            *session = None;
        }
    }
}
