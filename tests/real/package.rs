//! The package as `make package` writes it: what the platforms' tests run is what is in it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::harness::Stage;
use crate::process::{end, start};

/// Two of cargo's builds at once wait for each other longer than a process may take here.
static ONE: Mutex<()> = Mutex::new(());

/// The zip with the stage's rule in it.
pub fn packed(stage: &Stage, target: &str) -> PathBuf {
    let _one = ONE.lock().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut package = Command::new(root.join("handler/package"));
    package
        .arg(target)
        .arg(stage.rule_file())
        .env("DIST", stage.folder())
        .env("CLI", env!("CARGO_BIN_EXE_tdmq-backup"));
    let printed = end(start(&mut package)).successful("packing");
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
    let mut check = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check-package"));
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
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut package = Command::new(root.join("handler/package"));
    package.arg("scf").arg(stage.rule_file()).env("DIST", stage.folder()).env("CLI", env!("CARGO_BIN_EXE_tdmq-backup"));
    let ended = end(start(&mut package));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("interval: must be"), "{}", ended.stderr);
}
