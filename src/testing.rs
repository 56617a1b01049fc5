//! A broker, a bucket and a broken server in this process: for tests, and what `demo` runs on.

pub mod broker;
pub mod bucket;
pub mod compose;
pub mod http;
pub mod parsers;
mod shelf;
mod tls;
mod uploads;

pub use bucket::{Bucket, Fault, Op};
pub use http::{Http, Step};
pub use tls::TlsFront;
