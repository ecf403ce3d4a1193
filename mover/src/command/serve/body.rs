//! Bodies of answers, made while they are sent.
//!
//! Invariants
//! - Of an answer there are at most a few pieces of [`PIECE_BYTES`] in memory, however large it is
//!   and however slowly it is taken; no piece holds on to what the engine keeps.
//! - What goes wrong in the middle ends the connection, so that it cannot be taken for the end.
//! - Whoever takes nothing for [`STALLED`] is let go of, with all that was made for them.

use std::{
    io::{self, ErrorKind, Write},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::{runtime::Handle, sync::mpsc};
use windlass_engine::cancel::Cancel;

/// Bytes that are made at once.
pub(super) const PIECE_BYTES: usize = 128 << 10;
/// How long nothing may be taken.
const STALLED: Duration = Duration::from_secs(300);

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// All of it.
    Whole(Option<Bytes>),
    /// Made piece by piece; its length, where that is known.
    Made { pieces: mpsc::Receiver<Result<Bytes, Broken>>, left_bytes: Option<u64> },
}

/// The rest of a body cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the rest cannot be read")]
pub(super) struct Broken;

/// Takes the pieces of a body.
#[derive(Debug)]
pub(super) struct Pieces {
    sender: mpsc::Sender<Result<Bytes, Broken>>,
    line: Cancel,
}

/// Nobody takes them any more.
#[derive(Debug)]
pub(super) struct Gone;

impl Answer {
    pub(super) fn empty() -> Self {
        Self::Whole(None)
    }

    pub(super) fn text(text: impl Into<Bytes>) -> Self {
        Self::Whole(Some(text.into()))
    }

    /// A body whose pieces others make, on a connection that `line` ends.
    pub(super) fn made(left_bytes: Option<u64>, line: &Cancel) -> (Pieces, Self) {
        let (sender, pieces) = mpsc::channel(1);
        (Pieces { sender, line: line.clone() }, Self::Made { pieces, left_bytes })
    }
}

impl Pieces {
    /// Waits until there is room for a piece.
    pub(super) async fn send(&self, piece: impl Into<Bytes>) -> Result<(), Gone> {
        self.offer(Ok(piece.into())).await
    }

    /// Ends the connection instead of the body.
    pub(super) async fn break_off(self) {
        let _nobody_listens = self.offer(Err(Broken)).await;
    }

    async fn offer(&self, piece: Result<Bytes, Broken>) -> Result<(), Gone> {
        match tokio::time::timeout(STALLED, self.sender.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_closed)) => Err(Gone),
            Err(_stalled) => {
                self.line.cancel();
                Err(Gone)
            }
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Made { pieces, left_bytes } => pieces.poll_recv(context).map(|piece| {
                let piece = piece?;
                if let (Some(left), Ok(piece)) = (left_bytes, &piece) {
                    *left = left.saturating_sub(piece.len() as u64);
                }
                Some(piece.map(Frame::data))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Made { left_bytes, .. } => *left_bytes == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Made { left_bytes: Some(left), .. } => SizeHint::with_exact(*left),
            Self::Made { left_bytes: None, .. } => SizeHint::default(),
        }
    }
}

/// Pieces as something that threads write into.
#[derive(Debug)]
pub(super) struct Pipe<'a> {
    pub(super) pieces: &'a Pieces,
    pub(super) runtime: Handle,
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes.get(..PIECE_BYTES).unwrap_or(bytes));
        let length = piece.len();
        let sent = self.runtime.block_on(self.pieces.send(piece));
        sent.map(|()| length).map_err(|Gone| ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
