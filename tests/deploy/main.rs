//! The life of a rule on both clouds: the vendors' own tools against a fake that answers from the services' own definitions.
//! `tests/deploy/run` installs the tools and runs these.

mod child;
mod follow;
mod heads;
mod lambda;
mod loud;
mod package;
mod removal;
mod scf;
mod smoke;
mod unsubscribe;
mod world;
