//! What happens to each request: planned ahead, or decided as it comes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::Request;

use super::{Fault, Op};

/// Decides on each request as it comes: operation and path.
type Director = Box<dyn FnMut(Op, &str) -> Option<Fault> + Send>;

#[derive(Default)]
pub(super) struct Script {
    faults: Mutex<VecDeque<(Op, Fault)>>,
    director: Mutex<Option<Director>>,
    seen: Mutex<Vec<Op>>,
    under_way: Mutex<Option<Request<s3s::Body>>>,
}

impl Script {
    pub fn plan(&self, op: Op, fault: Fault) {
        lock(&self.faults).push_back((op, fault));
    }

    pub fn clear(&self) {
        lock(&self.faults).clear();
    }

    pub fn direct(&self, director: Director) {
        *lock(&self.director) = Some(director);
    }

    pub fn seen(&self) -> Vec<Op> {
        lock(&self.seen).clone()
    }

    /// Notes a request, and says what happens to it.
    pub fn next(&self, op: Op, path: &str) -> Option<Fault> {
        lock(&self.seen).push(op);
        let mut faults = lock(&self.faults);
        match faults.iter().position(|(of, _)| *of == op) {
            Some(at) => faults.remove(at).map(|(_, fault)| fault),
            None => lock(&self.director).as_mut()?(op, path),
        }
    }

    /// Keeps a request that is under way.
    pub fn holds(&self, request: Request<s3s::Body>) {
        *lock(&self.under_way) = Some(request);
    }

    /// The request that was under way and is to be done before this one.
    pub fn arrives_before<T>(&self, request: &Request<T>) -> Option<Request<s3s::Body>> {
        let same = |late: &mut Request<_>| (late.method(), late.uri()) == (request.method(), request.uri());
        lock(&self.under_way).take_if(same)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
