//! Stands in for `prost-build` where a crate's build script would call `protoc`: see README.md.

use std::io::{Error, Result};
use std::path::Path;

/// Generates Rust for `protos` as `prost_build::compile_protos` does, with the files parsed in Rust.
pub fn compile_protos(protos: &[impl AsRef<Path>], includes: &[impl AsRef<Path>]) -> Result<()> {
    for proto in protos {
        println!("cargo:rerun-if-changed={}", proto.as_ref().display());
    }
    let files = protox::compile(protos, includes).map_err(Error::other)?;
    real::Config::new().compile_fds(files)
}
