//! The program, running, and what may be done to it meanwhile.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde_json::Value;

use crate::harness::Stage;
use crate::process::told_at_its_end;

/// As a platform would say; what a dead broker or store makes a run wait for ends here.
const TIMEOUT_SECONDS: &str = "30";
/// For a run that was frozen meanwhile too.
const LIMIT: Duration = Duration::from_secs(90);

pub struct Running {
    child: Child,
    told: Receiver<Option<String>>,
    /// All that it printed, once it has ended.
    printed: Option<String>,
    /// What it said beside that, and those before it.
    said: PathBuf,
}

impl Running {
    pub fn start(stage: &Stage) -> Running {
        let (tell, told) = mpsc::channel();
        let path = stage.folder().join("said");
        let said = File::options().create(true).append(true).open(&path).unwrap();
        let mut command = stage.command();
        command.args(["--timeout", TIMEOUT_SECONDS]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(said).spawn().unwrap();
        told_at_its_end(child.stdout.take().unwrap(), tell);
        Running { child, told, printed: None, said: path }
    }

    pub fn ends_within(&mut self, time: Duration) -> bool {
        self.printed = self.printed.take().or_else(|| self.told.recv_timeout(time).ok().flatten());
        self.printed.is_some()
    }

    /// A signal by its name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success(), "{name}");
    }

    /// SIGKILL. A reply that it printed before is as true as any other.
    pub fn kill(mut self) -> Option<Value> {
        self.child.kill().unwrap();
        assert!(self.ends_within(LIMIT), "it does not die");
        serde_json::from_str(self.printed.as_deref()?).ok()
    }

    /// Its reply, once it has ended by itself.
    pub fn end(mut self) -> Value {
        assert!(self.ends_within(LIMIT), "a run did not end within {LIMIT:?}");
        let (code, printed) = (self.child.wait().unwrap().code(), self.printed.clone().unwrap());
        let report: Value = serde_json::from_str(&printed).unwrap_or_else(|why| {
            panic!("{why}, {code:?}: {printed}; {}", fs::read_to_string(&self.said).unwrap());
        });
        let expected = match report["outcome"].as_str().unwrap() {
            "stored" | "nothing_to_do" => 0,
            "busy" => 3,
            "unknown" => 4,
            _ => 1,
        };
        assert_eq!(code, Some(expected), "{report}");
        report
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}
