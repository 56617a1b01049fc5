//! A run that panics: an error like any other to the platform, and nothing of what it held in any text.
//!
//! A panic's message may repeat what the run was working on. Where it happened does not, and a message that stands in
//! the source as it is does not either; only these are told.

use std::any::Any;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::pin::pin;
use std::task::Poll;

use tdmq_backup::{Error, Kind};

thread_local! {
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Makes a panic note its place and print nothing. Once in a process.
pub fn watch() {
    set_hook(Box::new(|panic| {
        let place = panic.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
        PLACE.with(|noted| *noted.borrow_mut() = place);
    }));
}

/// `work`, or that it panicked, as an error of [`Kind::Internal`]. What it was holding is dropped: its connections
/// are closed, and the next run finds out from the bucket what was stored.
pub async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Error> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(told(panic.as_ref()))),
    })
    .await
}

fn told(panic: &(dyn Any + Send)) -> Error {
    let place = PLACE.with(|noted| noted.take());
    let why = panic.downcast_ref::<&'static str>().map(|text| format!(": {text}")).unwrap_or_default();
    let text = format!(
        "the run panicked{place}{why}; the next one finds out what was stored and goes on: this is a fault of the program, report it"
    );
    Error::new(Kind::Internal, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_that_says_where_and_nothing_of_what_was_at_hand() {
        watch();
        let token = String::from("eyJhbGciOi.secret");
        let error = caught(async { panic!("no place for {token}") }).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Internal);
        assert!(error.chain().contains("panicked at handler/panics.rs:"), "{}", error.chain());
        assert!(!error.chain().contains("secret") && !error.chain().contains("no place"), "{}", error.chain());
        let error = caught(async {
            tokio::task::yield_now().await;
            panic!("an end that was not reached")
        });
        let error = error.await.unwrap_err();
        assert!(error.chain().contains("an end that was not reached"), "{}", error.chain());
        assert_eq!(caught(async { 7 }).await.unwrap(), 7);
    }
}
