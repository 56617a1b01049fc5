//! An object's bytes on their way: up from a [`Body`], down under the limits.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use rusoto_core::ByteStream;
use tokio::time::{Sleep, sleep, sleep_until};

use super::failure::{Doing, Meaning};
use super::limits::{Allowance, Cut};
use super::wire::reasons;
use crate::Result;
use crate::encode::spool::Body;

/// The slices of a part as the stream that rusoto takes.
pub(super) struct Slices(Box<dyn Iterator<Item = io::Result<Bytes>> + Send>);

impl Slices {
    pub fn of(body: &Body, range: Range<u64>) -> ByteStream {
        let length = usize::try_from(range.end - range.start).expect("a part is far smaller than the address space");
        ByteStream::new_with_size(Slices(Box::new(body.slices_of(range))), length)
    }
}

impl Stream for Slices {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        Poll::Ready(self.0.next())
    }
}

/// A body that is coming in. Only the time that the reader waits for the store counts.
pub(super) struct Timed {
    body: Option<ByteStream>,
    doing: Doing,
    allowance: Allowance,
    deadline: Option<Pin<Box<Sleep>>>,
    stall: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    pub fn new(body: Option<ByteStream>, doing: Doing, allowance: Allowance) -> Self {
        let deadline = allowance.deadline.map(|at| Box::pin(sleep_until(at)));
        Timed { body, doing, allowance, deadline, stall: None }
    }

    fn end(&mut self, cut: Cut) -> Poll<Option<Result<Bytes>>> {
        self.body = None;
        Poll::Ready(Some(Err(self.doing.cut(cut, true).into_error())))
    }
}

impl Stream for Timed {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let this = &mut *self;
        if this.deadline.as_mut().is_some_and(|sleep| sleep.as_mut().poll(context).is_ready()) {
            return this.end(Cut::Deadline);
        }
        let Some(body) = this.body.as_mut() else { return Poll::Ready(None) };
        match Pin::new(body).poll_next(context) {
            Poll::Ready(Some(Ok(chunk))) => {
                this.stall = None;
                Poll::Ready(Some(Ok(chunk)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.body = None;
                let failure = this.doing.fails(Meaning::Unanswered, "the object's bytes stopped before its end");
                Poll::Ready(Some(Err(failure.because(reasons(&error)).into_error())))
            }
            Poll::Ready(None) => {
                this.body = None;
                Poll::Ready(None)
            }
            Poll::Pending => {
                let progress = this.allowance.progress;
                let stall = this.stall.get_or_insert_with(|| Box::pin(sleep(progress)));
                match stall.as_mut().poll(context) {
                    Poll::Ready(()) => this.end(Cut::Stalled),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}
