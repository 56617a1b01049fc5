//! What is in the package, looked at before anything is called.

use crate::scf::{RULE, world};
use crate::world::{Run, compiled};

#[test]
fn a_package_that_the_platforms_do_not_run_is_not_deployed() {
    let world = world();
    let newer = std::fs::read("/bin/sh").unwrap();
    // Nothing packs it smaller.
    let mut state = 1_u32;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    let large = (0..5 << 20).map(|_| noise()).collect();
    for (program, reason) in [
        (b"#!/bin/sh".to_vec(), "bootstrap is not for x86-64"),
        (newer, "CentOS 7 has 2.17"),
        (large, "bytes, more than 4194304"),
        (
            linked_with("libelsewhere.so.7"),
            "libelsewhere.so.7; bootstrap needs these libraries, which the platforms may not have",
        ),
    ] {
        world.program(program);
        for arguments in [&["deploy"][..], &["deploy", "--dry-run"]] {
            let text = world.run("scf", arguments).refused();
            assert!(text.contains(reason) && text.contains("run make package again"), "{reason} in {text}");
            assert_eq!(world.calls(), []);
        }
    }
    world.package("one that is as it should be");
    world.run("scf", &["deploy"]).ok();
}

#[test]
fn a_package_that_cannot_be_checked_here_is_not_blamed() {
    let world = world();
    // Everything that the check calls, but one.
    let tools =
        ["bash", "awk", "objdump", "python3", "mktemp", "rm", "stat", "grep", "sort", "tail", "head", "cut", "wc"];
    for (missing, reason) in [
        ("bash", "bash is missing: install bash"),
        ("objdump", "objdump is missing: install binutils"),
        ("python3", "python3 is missing: install python3"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for tool in tools.into_iter().filter(|tool| *tool != missing) {
            let there = ["/usr/bin", "/bin"].map(|place| std::path::Path::new(place).join(tool));
            let there = there.into_iter().find(|path| path.exists()).unwrap();
            std::os::unix::fs::symlink(there, folder.path().join(tool)).unwrap();
        }
        let text = Run(world.command("scf", &["deploy"]).env("PATH", folder.path()).output().unwrap()).refused();
        assert!(text.contains(&format!("package.zip cannot be checked here: {reason}")), "{reason} in {text}");
        assert!(!text.contains("run make package again"), "{text}");
    }
    let mut elsewhere = world.command("scf", &["deploy"]);
    let text = Run(elsewhere.current_dir(world.path("")).output().unwrap()).refused();
    assert!(text.contains("tests/check-package is missing: deploy from the project's directory"), "{text}");
    assert_eq!(world.calls(), []);
}

#[test]
fn the_check_of_a_package_leaves_nothing_in_the_temporary_folder() {
    let world = world();
    let folder = tempfile::tempdir().unwrap();
    for (program, code) in [(b"#!/bin/sh".to_vec(), 1), (compiled(&[]), 0)] {
        world.program(program);
        let mut check = std::process::Command::new("tests/check-package");
        check.current_dir(env!("CARGO_MANIFEST_DIR")).arg(world.path("package.zip")).env("TMPDIR", folder.path());
        assert_eq!(check.output().unwrap().status.code(), Some(code));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn the_file_that_ca_file_names_belongs_to_the_package_whatever_it_is_called() {
    let world = world();
    let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(world.path("authority.crt"), authority.cert.pem()).unwrap();
    let rule = RULE.replace("http://pulsar-abc", "https://pulsar-abc").replace(":8080", ":8443");
    world.rule(&rule.replace("subscription", "ca_file = \"./authority.crt\"\nsubscription"));
    world.run("scf", &["deploy", "--dry-run"]).ok();
}

/// A program that needs a library of this name.
fn linked_with(name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("library.so");
    std::fs::write(&library, compiled(&[&format!("-Wl,-soname,{name}")])).unwrap();
    compiled(&["-Wl,--no-as-needed", library.to_str().unwrap()])
}
