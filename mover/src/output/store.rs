//! What happens on the way to a store: what is tried again, and with `-vvv` every request.
//!
//! Invariants: all of it is on standard error, and nothing with `--quiet`.

use std::sync::{Arc, Weak};

use windlass_engine::store::trace::{Observer, StoreEvent};

use super::Output;
use crate::units;

/// `-v` so often shows each request.
const REQUESTS: u8 = 4;

/// Tells people through `output`.
pub(crate) fn observer(output: &Arc<Output>) -> Observer {
    let output = Arc::downgrade(output);
    Observer::new(move |event| {
        if let Some(output) = Weak::upgrade(&output)
            && let Some(line) = line(output.verbosity(), event)
        {
            output.warn(&line);
        }
    })
}

fn line(verbosity: u8, event: &StoreEvent) -> Option<String> {
    match event {
        StoreEvent::Retry { action, object, why, pause, .. } if verbosity > 0 => {
            Some(format!("{action} {object}: {why}; trying again in {:.1} s", pause.as_secs_f64()))
        }
        StoreEvent::Request { method, target, status, sent, received, took }
            if verbosity >= REQUESTS =>
        {
            let status = status.map_or("no answer".to_owned(), |status| status.to_string());
            Some(format!(
                "{method} {target}: {status}, {} sent, {} received, {:.3} s",
                units::bytes(*sent),
                units::bytes(*received),
                took.as_secs_f64()
            ))
        }
        StoreEvent::Cache { path, why } if verbosity > 0 => {
            Some(format!("the cache {path} cannot be used: {why}; going on without"))
        }
        StoreEvent::Window { requests, throttled: true } if verbosity >= 2 => {
            Some(format!("the store asks for less: {requests} requests at once from now on"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn requests_are_for_those_who_ask_for_everything() {
        let event = StoreEvent::Request {
            method: "GET".into(),
            target: "host/bucket/config".into(),
            status: Some(200),
            sent: 0,
            received: 155,
            took: Duration::from_millis(12),
        };
        assert_eq!(line(3, &event), None);
        let told = line(4, &event).expect("told");
        assert_eq!(told, "GET host/bucket/config: 200, 0 B sent, 155 B received, 0.012 s");
    }
}
