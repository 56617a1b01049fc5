//! The packaged function as Tencent SCF runs it: under a runtime API that is acted from its document.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command};

use crate::harness::{SUBSCRIPTION, Stage, component};
use crate::invoke::every_event_file_is_answered;
use crate::package::unpacked;
use crate::platform::{Platform, Sent};

struct Instance {
    child: Child,
    log: PathBuf,
}

impl Instance {
    /// The rule is the package's; keys are a role's.
    fn of(stage: &Stage, platform: &Platform) -> Self {
        let (folder, log) = (unpacked(stage, "scf"), stage.folder().join("scf.log"));
        let file = File::create(&log).unwrap();
        let mut command = Command::new(folder.join("bootstrap"));
        let variables = stage.variables();
        command
            .env_clear()
            .envs(platform.variables())
            .env("TDMQ_BACKUP_TOKEN", &variables["TDMQ_BACKUP_TOKEN"])
            .env("TENCENTCLOUD_SECRETID", &variables["AWS_ACCESS_KEY_ID"])
            .env("TENCENTCLOUD_SECRETKEY", &variables["AWS_SECRET_ACCESS_KEY"])
            .env("USER_CODE_ROOT", &folder)
            .current_dir("/")
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        Instance { child: command.spawn().unwrap(), log }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_event_file_is_answered_under_scfs_runtime_api_and_a_dry_run_changes_nothing() {
    let mut stage = Stage::new("scf");
    let sent = stage.produce("python", "keys", &[]);
    stage.number("max_messages", sent.len() as u64 - 1);
    let platform = Platform::start();
    let instance = Instance::of(&stage, &platform);
    let mut requests = 0;
    every_event_file_is_answered(&stage, sent, |event| {
        requests += 1;
        let told = platform.invoke(Sent::new(&format!("request-{requests}"), event));
        serde_json::from_str(&told.unwrap_or_else(|error| panic!("{event}: {error}"))).unwrap()
    });
    let printed = fs::read_to_string(&instance.log).unwrap();
    for secret in [&stage.variables()["TDMQ_BACKUP_TOKEN"], &component("REAL_S3_SECRET_KEY")] {
        assert!(!printed.contains(secret), "a secret was printed");
    }
    assert_eq!(stage.head()["subscription"], SUBSCRIPTION);
}

#[test]
fn an_event_with_a_key_that_nothing_knows_is_an_error_under_scfs_runtime_api_and_nothing_is_read() {
    let stage = Stage::new("scf-event");
    stage.produce("python", "keys", &[]);
    let platform = Platform::start();
    let _instance = Instance::of(&stage, &platform);
    for event in [r#"{"dry_runs":true}"#, r#"{"Type":"Timer","Message":"{\"max_object\":20}"}"#] {
        let told = platform.invoke(Sent::new("request", event)).unwrap_err();
        assert!(told.starts_with("invalid: the event ") && told.contains("has a "), "{told}");
    }
    assert_eq!((stage.files(), stage.standing().mark_delete), (Vec::new(), None));
}
