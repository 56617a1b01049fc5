//! The package as `make package` writes it: what the platforms' tests run is what is in it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::Stage;
use crate::process::{end, start};

/// The program, built once for all tests, however long that takes; `REAL_FUNCTION` names one that is there.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(there) = std::env::var_os("REAL_FUNCTION") {
            return there.into();
        }
        let folder = tempfile::TempDir::new().unwrap();
        let mut build = Command::new(root().join("handler/package"));
        build.arg("scf").env("DIST", folder.path());
        // What cargo says of this test is not to be taken for a change of the program.
        for (name, _) in std::env::vars_os() {
            let ours = name.to_string_lossy().starts_with("CARGO_") && name != "CARGO_HOME";
            if ours || name == "LD_LIBRARY_PATH" {
                build.env_remove(name);
            }
        }
        let built = build.output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        root().join("target/x86_64-unknown-linux-gnu/release/bootstrap")
    })
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn package(stage: &Stage, target: &str) -> Command {
    let mut package = Command::new(root().join("handler/package"));
    package.arg(target).arg(stage.rule_file()).env("DIST", stage.folder());
    package.env("CLI", env!("CARGO_BIN_EXE_tdmq-backup")).env("PROGRAM", program());
    package
}

/// The zip with the stage's rule in it.
pub fn packed(stage: &Stage, target: &str) -> PathBuf {
    let printed = end(start(&mut package(stage, target))).successful("packing");
    PathBuf::from(printed.trim())
}

/// The folder that a platform makes of it.
pub fn unpacked(stage: &Stage, target: &str) -> PathBuf {
    let folder = stage.folder().join(target);
    let mut unpack = Command::new("python3");
    unpack.arg("-B").arg(crate::harness::script("python/unpack.py")).arg(packed(stage, target)).arg(&folder);
    end(start(&mut unpack)).successful("unpacking");
    folder
}

#[test]
fn a_package_is_what_both_platforms_take_and_the_same_inputs_give_the_same_bytes() {
    let stage = Stage::new("package");
    let (lambda, scf) = (packed(&stage, "lambda"), packed(&stage, "scf"));
    assert_eq!(scf.file_name().unwrap(), "tdmq-backup-scf-real.zip");
    let mut check = Command::new(root().join("tests/check-package"));
    let printed = end(start(check.arg(&lambda).arg(&scf))).successful("checking the packages");
    println!("{printed}");
    let bytes = std::fs::read(&scf).unwrap();
    assert!(bytes == std::fs::read(&lambda).unwrap(), "one program for both");
    assert!(bytes == std::fs::read(packed(&stage, "scf")).unwrap(), "packed again");
}

#[test]
fn a_wrong_rule_is_not_packed() {
    let mut stage = Stage::new("package-rule");
    stage.text("interval", "3m");
    let ended = end(start(&mut package(&stage, "scf")));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("interval: must be"), "{}", ended.stderr);
}
