//! Our command line as a process that goes on: its lines as they come, and an interrupt.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::world::World;

/// Several looks at the log, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
const SIGINT: i32 = 2;

/// A command under way, and what it says: standard output and standard error as one.
pub struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Running {
    pub fn of(world: &World, target: &str, arguments: &[&str]) -> Self {
        let whole = world.command(target, arguments);
        // Whoever runs these tests in the background may have them ignore an interrupt, and their children too.
        let mut command = Command::new("env");
        command.arg("--default-signal=INT").arg(whole.get_program()).args(whole.get_args());
        command.env_clear().envs(whole.get_envs().filter_map(|(name, value)| Some((name, value?))));
        whole.get_current_dir().map(|folder| command.current_dir(folder));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (tell, lines) = mpsc::channel();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let errors = tell.clone();
        thread::spawn(move || BufReader::new(stdout).lines().try_for_each(|line| tell.send(line.unwrap())));
        thread::spawn(move || BufReader::new(stderr).lines().try_for_each(|line| errors.send(line.unwrap())));
        Running { child, lines }
    }

    #[track_caller]
    pub fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).unwrap_or_else(|why| panic!("no further line: {why}"))
    }

    /// Ends it as Ctrl-C does, exit code 130 to a shell. The lines that nobody has asked for.
    pub fn interrupted(mut self) -> Vec<String> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().signal(), Some(SIGINT));
        // Both of its pipes have ended with it.
        self.lines.iter().collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
