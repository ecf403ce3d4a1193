//! What happened to the requests of a call, where a library stands between the call and the
//! transport and makes words of it.
//!
//! Invariants: what is remembered belongs to the call on whose behalf it was asked, and to no other.

use std::{cell::RefCell, time::Duration};

use bytes::Bytes;

use super::{HttpError, asked_pause};
use crate::store::{Failure, StoreError};

/// Why a call got no answer that it could use.
#[derive(Clone, Debug)]
pub(in crate::store) enum Seen {
    /// An answer came, and it is a refusal.
    Refusal {
        /// Who sent it.
        host: String,
        /// Its status.
        status: u16,
        /// Its body.
        body: Bytes,
        /// Whether a person is meant to read it.
        is_page: bool,
        /// How long the server wants to be left alone.
        pause: Option<Duration>,
    },
    /// None came.
    Broken {
        /// Whether it may the next time.
        failure: Failure,
        /// Why.
        why: String,
        /// What to do.
        advice: Option<&'static str>,
    },
}

/// What a refusal means.
#[derive(Debug)]
pub(in crate::store) struct Meaning {
    /// Its class.
    pub(in crate::store) failure: Failure,
    /// In words.
    pub(in crate::store) why: &'static str,
    /// What to do; may be empty.
    pub(in crate::store) advice: &'static str,
    /// What the service says itself; may be empty.
    pub(in crate::store) remark: String,
}

tokio::task_local! {
    static SEEN: RefCell<Option<Seen>>;
}

impl Seen {
    /// An answer that is no success, or a page.
    pub(in crate::store) fn refusal(
        host: &str,
        head: &http::response::Parts,
        body: &Bytes,
        is_page: bool,
    ) -> Self {
        Self::Refusal {
            host: host.to_owned(),
            status: head.status.as_u16(),
            body: body.clone(),
            is_page,
            pause: asked_pause(&head.headers),
        }
    }

    /// No answer.
    pub(in crate::store) fn broken(error: &HttpError) -> Self {
        let advice = error.advice();
        Self::Broken { failure: error.failure(), why: error.to_string(), advice }
    }

    /// The error of a call on `name`. What a status means, and with it the remark that belongs into
    /// the sentence, is the service's to say, from the status, the body and whether that is a page.
    pub(in crate::store) fn failed(
        self,
        action: &'static str,
        name: &str,
        meaning: impl FnOnce(u16, &[u8], bool) -> Meaning,
    ) -> StoreError {
        match self {
            Self::Broken { failure, why, advice } => {
                let error = StoreError::new(failure, action, name, why);
                match advice {
                    Some(advice) => error.advising(advice),
                    None => error,
                }
            }
            Self::Refusal { host, status, body, is_page, pause } => {
                let Meaning { failure, why, advice, remark } = meaning(status, &body, is_page);
                let remark = if remark.is_empty() { remark } else { format!(": {remark}") };
                let why = format!("{why} ({host}: status {status}{remark})");
                let mut error = StoreError::new(failure, action, name, why);
                if !advice.is_empty() {
                    error = error.advising(advice);
                }
                match pause {
                    Some(pause) => error.pausing(pause),
                    None => error,
                }
            }
        }
    }

    /// Remembers it for the call that asked; one that nobody watches has nobody to tell.
    pub(in crate::store) fn remember(self) {
        let _unwatched = SEEN.try_with(|slot| slot.replace(Some(self)));
    }
}

/// Does `call`, and gives the last that kept it from an answer.
pub(in crate::store) async fn seen<T>(call: impl Future<Output = T>) -> (T, Option<Seen>) {
    let both = async {
        let answer = call.await;
        (answer, SEEN.with(RefCell::take))
    };
    SEEN.scope(RefCell::new(None), both).await
}
