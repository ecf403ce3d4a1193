//! Bodies on their way: cut into pieces, so that limits are even and progress is seen.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep_until};

use super::{
    Ending, HttpError,
    room::{Room, UnderWay},
    watch::Watch,
};
use crate::store::{
    limit::{Direction, Limiter, PIECE_BYTES},
    trace::Observer,
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request.
pub(super) struct Outgoing<B> {
    inner: Pin<Box<B>>,
    /// Of a frame, what has not been handed on.
    rest: Bytes,
    limiter: Arc<Limiter>,
    watch: Watch,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<B> Outgoing<B> {
    pub(super) fn new(inner: B, limiter: Arc<Limiter>, watch: Watch) -> Self {
        Self { inner: Box::pin(inner), rest: Bytes::new(), limiter, watch, pause: None }
    }
}

impl<B> Body for Outgoing<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        while this.rest.is_empty() {
            let Some(frame) = ready!(this.inner.as_mut().poll_frame(context)) else {
                return Poll::Ready(None);
            };
            match frame.map_err(Into::into)?.into_data() {
                Ok(data) => this.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        if this.pause.is_none() {
            let len = this.rest.len().min(PIECE_BYTES);
            let until = this.limiter.book(Direction::Up, len);
            this.watch.out(len, until);
            this.pause = until.map(|until| Box::pin(sleep_until(until)));
        }
        if let Some(pause) = &mut this.pause {
            ready!(pause.as_mut().poll(context));
            this.pause = None;
        }
        let len = this.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(this.rest.split_to(len)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

/// The body of an answer.
pub struct Incoming {
    inner: reqwest::Body,
    limiter: Arc<Limiter>,
    under_way: UnderWay,
    observer: Observer,
    ending: Ending,
    /// Ends when the answer has stood still for too long.
    alarm: Pin<Box<Sleep>>,
    /// What came and has to wait.
    held: Option<(Bytes, Pin<Box<Sleep>>)>,
}

impl Incoming {
    pub(super) fn new(
        inner: reqwest::Body,
        limiter: Arc<Limiter>,
        under_way: UnderWay,
        ending: Ending,
        observer: Observer,
    ) -> Self {
        ending.watch.progress(None);
        let alarm = Box::pin(sleep_until(ending.watch.deadline()));
        Self { inner, limiter, under_way, observer, ending, alarm, held: None }
    }

    /// All of it, which may be at most `most` bytes; more is an error.
    pub async fn collect(mut self, most: usize) -> Result<Bytes, HttpError> {
        let hint = Body::size_hint(&self);
        if hint.lower() > most as u64 {
            return Err(HttpError::TooLong(most));
        }
        let mut first = Bytes::new();
        let mut whole = None;
        while let Some(frame) =
            std::future::poll_fn(|context| Pin::new(&mut self).poll_frame(context)).await
        {
            let Ok(data) = frame?.into_data() else { continue };
            let before = whole.as_ref().map_or(first.len(), Room::len);
            if before + data.len() > most {
                return Err(HttpError::TooLong(most));
            }
            // An answer in one piece is not copied.
            if before == 0 {
                first = data;
                continue;
            }
            let whole = whole.get_or_insert_with(|| {
                let expected = usize::try_from(hint.upper().unwrap_or(0)).unwrap_or(0);
                let mut whole =
                    self.under_way.rooms().take(expected.min(most).max(before + data.len()));
                whole.push(&std::mem::take(&mut first));
                whole
            });
            whole.push(&data);
        }
        Ok(whole.map_or(first, Room::freeze))
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        if this.held.is_none() {
            let frame = match Pin::new(&mut this.inner).poll_frame(context) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    ready!(this.alarm.as_mut().poll(context));
                    let patience = this.ending.watch.patience();
                    return Poll::Ready(Some(Err(HttpError::Stuck(patience))));
                }
            };
            let data = match frame.transpose().map_err(HttpError::request)?.map(Frame::into_data) {
                None => return Poll::Ready(None),
                Some(Err(trailers)) => return Poll::Ready(Some(Ok(trailers))),
                Some(Ok(data)) => data,
            };
            this.ending.received += data.len() as u64;
            let until = this.limiter.book(Direction::Down, data.len());
            this.ending.watch.progress(until);
            this.alarm.as_mut().reset(this.ending.watch.deadline());
            match until {
                None => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(until) => this.held = Some((data, Box::pin(sleep_until(until)))),
            }
        }
        if let Some((_data, pause)) = &mut this.held {
            ready!(pause.as_mut().poll(context));
        }
        let held = this.held.take().map(|(data, _pause)| Ok(Frame::data(data)));
        Poll::Ready(held)
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.as_ref().map_or(0, |(data, _pause)| data.len() as u64);
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + held);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.observer.tell(|| self.ending.told());
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("ending", &self.ending).finish_non_exhaustive()
    }
}
