//! `bootstrap` as a process, under what acts its platforms, between the embedded broker and bucket.

mod events;
mod lambda;
mod platform;
mod scf;
mod world;
