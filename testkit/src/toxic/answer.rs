//! Answers that are made up or spoilt.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Response,
    body::{Body, Frame, SizeHint},
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use tokio::time::{Sleep, sleep};

use super::{Answer, never};

const PIECE_BYTES: usize = 1024;

/// "Too many requests", in the words of S3.
pub(super) fn busy(retry_after: Option<u64>) -> Answer {
    let text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>SlowDown</Code>\
                <Message>Please reduce your request rate.</Message></Error>";
    let mut answer = made(503, "application/xml", text);
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    answer
}

/// What a network shows to who has not logged in.
pub(super) fn page() -> Answer {
    made(200, "text/html", "<!DOCTYPE html><html><head><title>Welcome</title></head></html>")
}

/// What was asked for.
pub(super) fn made(status: u16, kind: &'static str, text: impl Into<Bytes>) -> Answer {
    let body = Full::new(text.into()).map_err(never).boxed();
    let mut answer = Response::new(body);
    *answer.status_mut() = status.try_into().expect("a status");
    answer.headers_mut().insert(CONTENT_TYPE, kind.parse().expect("a header"));
    answer
}

/// What comes after the first half of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The end of the connection.
    Break,
    /// Nothing.
    Stall,
}

/// The answer with half of its body.
pub(super) async fn half(answer: Answer, after: After) -> Result<Answer, io::Error> {
    let (head, body) = answer.into_parts();
    let whole = body.collect().await?.to_bytes();
    let body = Half { whole: whole.len(), half: Some(whole.slice(..whole.len() / 2)), after };
    Ok(Response::from_parts(head, body.boxed()))
}

/// The answer in pieces.
pub(super) async fn drip(answer: Answer, apart: Duration) -> Result<Answer, io::Error> {
    let (head, body) = answer.into_parts();
    let rest = body.collect().await?.to_bytes();
    let body = Drip { rest, apart, pause: Box::pin(sleep(apart)) };
    Ok(Response::from_parts(head, body.boxed()))
}

struct Half {
    whole: usize,
    half: Option<Bytes>,
    after: After,
}

impl Body for Half {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match (self.half.take(), self.after) {
            (Some(half), _) if !half.is_empty() => Poll::Ready(Some(Ok(Frame::data(half)))),
            (_, After::Break) => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
            // Nobody wakes it: it ends with the connection.
            (_, After::Stall) => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.whole as u64)
    }
}

struct Drip {
    rest: Bytes,
    apart: Duration,
    pause: Pin<Box<Sleep>>,
}

impl Body for Drip {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        std::task::ready!(this.pause.as_mut().poll(context));
        this.pause = Box::pin(sleep(this.apart));
        let len = this.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(this.rest.split_to(len)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
