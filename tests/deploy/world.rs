//! A fake of both clouds, the vendors' own tools, and our command line between them.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub const TOKEN: &str = "MARKER.TOKEN.of-the-role";

pub struct World {
    folder: tempfile::TempDir,
    fake: Child,
    port: String,
    /// The package's bootstrap.
    program: RefCell<Vec<u8>>,
    /// More of the environment of what is run.
    pub env: Vec<(String, String)>,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.fake.kill();
        let _ = self.fake.wait();
    }
}

/// Where the tools are: tests/deploy/run says.
fn tools() -> PathBuf {
    std::env::var_os("DEPLOY_BIN").expect("DEPLOY_BIN is set by tests/deploy/run, which runs these tests").into()
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deploy")
}

/// What passes for the program: a library that asks of glibc what every version has. With `content` it is another one.
fn stand_in(content: &str) -> Vec<u8> {
    static COMPILED: OnceLock<Vec<u8>> = OnceLock::new();
    let compiled = COMPILED.get_or_init(|| compiled(&[]));
    [compiled, content.as_bytes()].concat()
}

/// A program that the C compiler makes with these arguments.
pub fn compiled(arguments: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let code = "int puts(const char *); const char place[] = \"src/drain\"; int f(void) { return puts(place); }";
    fs::write(folder.path().join("f.c"), code).unwrap();
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-nostartfiles", "-o", "f", "f.c"])
        .args(arguments)
        .current_dir(folder.path())
        .status()
        .expect("a C compiler, which building needs too");
    assert!(made.success());
    fs::read(folder.path().join("f")).unwrap()
}

impl World {
    pub fn start() -> World {
        let folder = tempfile::tempdir().unwrap();
        let fake = Command::new(tools().join("python"))
            .args(["-B".as_ref(), here().join("fake.py").as_os_str(), folder.path().as_os_str()])
            .spawn()
            .unwrap();
        let port = folder.path().join("port");
        #[expect(clippy::disallowed_methods, reason = "another process's time")]
        let began = Instant::now();
        while !port.exists() {
            assert!(began.elapsed() < Duration::from_secs(60), "the fake did not start");
            std::thread::yield_now();
        }
        let port = fs::read_to_string(port).unwrap();
        let scf = json!({ "_sys_param": { "arrayCount": 10, "output": "json", "region": "ap-guangzhou", "warning": "off" },
            "scf": { "endpoint": format!("127.0.0.1:{port}"), "version": "2018-04-16" } });
        fs::create_dir(folder.path().join(".tccli")).unwrap();
        fs::write(folder.path().join(".tccli/default.configure"), scf.to_string()).unwrap();
        let (id, secret) = ("id-of-whoever-looks", "MARKER-SECRET");
        let keys = json!({ "secretId": id, "secretKey": secret });
        fs::write(folder.path().join(".tccli/default.credential"), keys.to_string()).unwrap();
        fs::create_dir(folder.path().join(".aws")).unwrap();
        let keys = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
        fs::write(folder.path().join(".aws/credentials"), keys).unwrap();
        World { folder, fake, port, program: RefCell::new(stand_in("first")), env: Vec::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The package has another program from now on.
    pub fn package(&self, content: &str) {
        self.program(stand_in(content));
    }

    /// The same, whatever it is.
    pub fn program(&self, program: Vec<u8>) {
        *self.program.borrow_mut() = program;
        self.pack();
    }

    pub fn rule(&self, text: &str) {
        fs::write(self.path("rule.toml"), text).unwrap();
        self.pack();
    }

    /// The package of the rule, with a stand-in for the program.
    fn pack(&self) {
        fs::write(self.path("bootstrap"), self.program.borrow().as_slice()).unwrap();
        let made = Command::new(tools().join("python"))
            .args(["-B".as_ref(), Path::new(env!("CARGO_MANIFEST_DIR")).join("handler/package.py").as_os_str()])
            .args(["package.zip", "bootstrap", "rule.toml"].map(|name| self.path(name)))
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success());
    }

    /// Our command line, with the rule of this world.
    pub fn run(&self, target: &str, arguments: &[&str]) -> Run {
        Run(self.command(target, arguments).output().unwrap())
    }

    pub fn command(&self, target: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tdmq-backup"));
        command.args(arguments).args(["--target", target, "--rule"]).arg(self.path("rule.toml"));
        if arguments[0] == "deploy" {
            command.arg("--package").arg(self.path("package.zip"));
        }
        let path = format!("{}:/usr/bin:/bin", tools().display());
        command.current_dir(env!("CARGO_MANIFEST_DIR")).env_clear();
        for (name, value) in [
            ("PATH", path.as_str()),
            ("HOME", self.folder.path().to_str().unwrap()),
            ("PYTHONPATH", here().join("plain").to_str().unwrap()),
            ("PYTHONDONTWRITEBYTECODE", "1"),
            ("AWS_ENDPOINT_URL", &format!("http://127.0.0.1:{}", self.port)),
            ("AWS_MAX_ATTEMPTS", "1"),
            ("TENCENT_LOG", ""),
        ] {
            command.env(name, value);
        }
        // The tools find theirs in their files. With keys in the environment `status` would look at the store, which is
        // on no machine of ours unless the world says so.
        if arguments[0] != "status" {
            command.env("AWS_ACCESS_KEY_ID", "key-of-whoever-deploys").env("AWS_SECRET_ACCESS_KEY", "MARKER-SECRET");
            command
                .env("TENCENTCLOUD_SECRETID", "id-of-whoever-deploys")
                .env("TENCENTCLOUD_SECRETKEY", "MARKER-SECRET");
        }
        command.envs(self.env.iter().cloned());
        command
    }

    /// What the next invocations answer.
    pub fn replies(&self, reports: &[Value]) {
        let lines: String = reports.iter().map(|report| format!("{report}\n")).collect();
        fs::write(self.path("replies.jsonl"), lines).unwrap();
    }

    /// The next calls of these actions are refused, and so are not among the calls.
    pub fn refuses(&self, actions: &[&str]) {
        fs::write(self.path("refused"), actions.join("\n")).unwrap();
    }

    /// The calls since the last time this was asked.
    pub fn calls(&self) -> Vec<(String, Value)> {
        let text = fs::read_to_string(self.path("calls.jsonl")).unwrap_or_default();
        let _ = fs::remove_file(self.path("calls.jsonl"));
        let calls = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        calls.map(|call| (call["action"].as_str().unwrap().to_owned(), call["parameters"].clone())).collect()
    }

    /// The names of those calls that change something.
    pub fn changes(&self) -> Vec<String> {
        let looks = ["Get", "List", "Describe", "Filter"];
        let names = self.calls().into_iter().map(|(action, _)| action);
        names.filter(|action| !looks.iter().any(|look| action.starts_with(look))).collect()
    }

    /// Every call that was printed is one of the services' definitions; how many there were.
    pub fn checked(&self, printed: &str) -> usize {
        let mut check = Command::new(tools().join("python"))
            .args(["-B".as_ref(), here().join("check.py").as_os_str()])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        check.stdin.take().unwrap().write_all(printed.as_bytes()).unwrap();
        let output = check.wait_with_output().unwrap();
        assert!(output.status.success(), "{printed}");
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    }
}

/// What a command said, and how it ended.
pub struct Run(pub Output);

impl Run {
    pub fn text(&self) -> String {
        let text = [&self.0.stdout, &self.0.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
        assert!(!text.contains("MARKER"), "a secret is shown: {text}");
        let order = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(order) && !text.contains("\nFORGED"), "a terminal obeys a cloud: {text:?}");
        text
    }

    pub fn code(&self) -> i32 {
        self.0.status.code().unwrap()
    }

    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code(), 0, "{}", self.text());
        self.text()
    }

    /// Refused, as what is wrong with a rule is.
    #[track_caller]
    pub fn refused(self) -> String {
        assert!(self.code() != 0, "{}", self.text());
        self.text()
    }
}

impl World {
    /// A call of somebody else's, with the vendor's tool.
    pub fn call_scf(&self, action: &str, parameters: &Value) {
        fs::write(self.path("call.json"), parameters.to_string()).unwrap();
        let status = Command::new(tools().join("tccli"))
            .args([
                "scf",
                action,
                "--region",
                "ap-guangzhou",
                "--secretId",
                "a",
                "--secretKey",
                "b",
                "--cli-input-json",
            ])
            .arg(format!("file://{}", self.path("call.json").display()))
            .env("HOME", self.folder.path())
            .env("PYTHONPATH", here().join("plain"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Somebody gave a function another timeout, in seconds.
    pub fn timeout(&self, name: &str, seconds: u64) {
        let status = Command::new(tools().join("tccli"))
            .args(["scf", "UpdateFunctionConfiguration", "--region", "ap-guangzhou", "--FunctionName", name])
            .args(["--Timeout", &seconds.to_string()])
            .env("HOME", self.folder.path())
            .env("PYTHONPATH", here().join("plain"))
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        self.calls();
    }

    /// Somebody, or a deployment that was cut off, switched a schedule off.
    pub fn schedule_off(&self, name: &str) {
        let target = r#"{"Arn":"arn:aws:lambda:x","RoleArn":"arn:aws:iam::123456789012:role/x"}"#;
        let status = Command::new(tools().join("aws"))
            .args(["scheduler", "update-schedule", "--region", "eu-west-1", "--state", "DISABLED", "--name", name])
            .args([
                "--schedule-expression",
                "rate(7 minutes)",
                "--flexible-time-window",
                "Mode=OFF",
                "--target",
                target,
            ])
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port))
            .envs([("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")])
            .stdout(Stdio::null())
            .env("HOME", self.folder.path())
            .status()
            .unwrap();
        assert!(status.success());
    }
}
