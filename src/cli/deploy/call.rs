//! One call to a cloud: what is asked, how it is shown, and how the vendor's own tool carries it out.
//!
//! Owns: command lines, and keeping secrets out of them: the parameters go to the tool as a file without a name,
//! on its standard input. Does not own: what is asked, and what an answer means.

use std::fmt::Write as _;
use std::io::{Seek, Write as _};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tdmq_backup::Secret;
use tdmq_backup::error::visible;

/// Which tool speaks to which cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Aws,
    Tccli,
}

impl Tool {
    pub fn name(self) -> &'static str {
        match self {
            Tool::Aws => "aws",
            Tool::Tccli => "tccli",
        }
    }
}

/// What stands at a place of the parameters when they are sent, and in no text.
#[derive(Clone, Debug)]
pub enum Held {
    Secret(Secret),
    /// A file, in base64.
    File(PathBuf),
}

/// One call, in the service's own words.
#[derive(Clone, Debug)]
pub struct Call {
    pub tool: Tool,
    pub service: &'static str,
    /// As the tool writes it: `create-change-set`, `CreateFunction`.
    pub action: &'static str,
    pub region: String,
    /// `Null` where all of it is in the arguments: the tool takes no file there.
    pub parameters: Value,
    /// JSON pointers into `parameters`, and what is put there.
    held: Vec<(String, Held)>,
    /// Arguments that are none of the parameters.
    extra: Vec<String>,
}

impl Call {
    pub fn new(tool: Tool, service: &'static str, action: &'static str, region: &str, parameters: Value) -> Self {
        Call { tool, service, action, region: region.to_owned(), parameters, held: Vec::new(), extra: Vec::new() }
    }

    /// Puts `held` where `pointer` leads, which must be there already: the text that stands there is what is shown.
    pub fn holding(mut self, pointer: impl Into<String>, held: Held) -> Self {
        self.held.push((pointer.into(), held));
        self
    }

    pub fn with(mut self, extra: &[&str]) -> Self {
        self.extra.extend(extra.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// The command line, as a shell takes it. What is secret is `***`; a file is `<base64 of …>`.
    pub fn shown(&self) -> String {
        let mut line = format!("{} {} {} --region {}", self.tool.name(), self.service, self.action, self.region);
        for argument in &self.extra {
            let _ = write!(line, " {}", quoted(argument));
        }
        match self.tool {
            _ if self.parameters.is_null() => {}
            Tool::Aws => {
                let _ = write!(line, " --cli-input-json {}", quoted(&self.parameters.to_string()));
            }
            Tool::Tccli => {
                let _ = write!(line, " --cli-input-json file:///dev/stdin <<'JSON'\n{}\nJSON", self.parameters);
            }
        }
        line
    }

    /// The answer, or `None` where the service says that there is no such thing.
    pub fn find(&self) -> Result<Option<Value>> {
        match self.run()? {
            Ok(text) => answer(&text, self).map(Some),
            Err(refusal) if is_absent(&refusal) => Ok(None),
            Err(refusal) => bail!("{}", self.refused(&refusal)),
        }
    }

    /// The answer; `Null` where it is empty.
    pub fn ask(&self) -> Result<Value> {
        match self.run()? {
            Ok(text) => answer(&text, self),
            Err(refusal) => bail!("{}", self.refused(&refusal)),
        }
    }

    /// What the tool printed; or what it said when it failed, on one line, as it may stand in a terminal.
    pub fn run(&self) -> Result<Result<String, String>> {
        let mut input = tempfile::tempfile().context("no temporary file for the parameters of a call")?;
        input
            .write_all(self.sent()?.to_string().as_bytes())
            .and_then(|()| input.rewind())
            .context("a temporary file")?;
        let mut command = Command::new(self.tool.name());
        command.arg(self.service).args(self.action.split(' ')).args(["--region", &self.region]).args(&self.extra);
        if !self.parameters.is_null() {
            command.args(["--cli-input-json", "file:///dev/stdin"]);
        }
        command.stdin(input);
        if self.tool == Tool::Tccli {
            // The store's variables serve the tool too, which has other names for them.
            for (ours, theirs) in [
                ("TENCENTCLOUD_SECRETID", "TENCENTCLOUD_SECRET_ID"),
                ("TENCENTCLOUD_SECRETKEY", "TENCENTCLOUD_SECRET_KEY"),
                ("TENCENTCLOUD_SESSIONTOKEN", "TENCENTCLOUD_TOKEN"),
            ] {
                if let (Some(value), None) = (std::env::var_os(ours), std::env::var_os(theirs)) {
                    command.env(theirs, value);
                }
            }
        }
        let output = command.output().with_context(|| {
            let tool = self.tool.name();
            format!("{tool} cannot be started: run this through make, which installs it, or put {tool} on the PATH")
        })?;
        // tccli says on standard output what went wrong.
        let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Ok(if output.status.success() { Ok(out) } else { Err(visible(&self.redacted(&format!("{err}{out}")))) })
    }

    fn sent(&self) -> Result<Value> {
        let mut parameters = self.parameters.clone();
        for (pointer, held) in &self.held {
            let text = match held {
                Held::Secret(secret) => secret.reveal().to_owned(),
                Held::File(path) => {
                    STANDARD.encode(std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?)
                }
            };
            *parameters.pointer_mut(pointer).context("a call without the place that it holds something for")? =
                Value::String(text);
        }
        Ok(parameters)
    }

    fn redacted(&self, text: &str) -> String {
        let secrets = self.held.iter().filter_map(|(_, held)| match held {
            Held::Secret(secret) => Some(secret),
            Held::File(_) => None,
        });
        secrets.fold(text.to_owned(), |text, secret| secret.redact(&text))
    }

    fn refused(&self, said: &str) -> String {
        let said: Vec<&str> = said.split_whitespace().collect();
        let said: String = said.join(" ").chars().take(600).collect();
        format!("{} {} {} was refused: {said}", self.tool.name(), self.service, self.action)
    }
}

fn answer(text: &str, call: &Call) -> Result<Value> {
    // What waits prints a line for each look before the answer.
    let from = text.find(['{', '[']).unwrap_or(text.len());
    match text[from..].trim() {
        "" => Ok(Value::Null),
        json => serde_json::from_str(json)
            .with_context(|| format!("{} {} answered what is not JSON", call.tool.name(), call.action)),
    }
}

/// Whether a service said that the function or the stack does not exist.
fn is_absent(refusal: &str) -> bool {
    ["ResourceNotFound", "does not exist"].iter().any(|words| refusal.contains(words))
}

/// One word of a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_line_shows_everything_but_secrets() {
        let call =
            Call::new(Tool::Tccli, "scf", "CreateFunction", "ap-guangzhou", json!({"Token": "***", "A": "it's"}))
                .holding("/Token", Held::Secret(Secret::new("MARKER-TOKEN")))
                .with(&["--timeout", "a b"]);
        let shown = call.shown();
        assert_eq!(
            shown,
            "tccli scf CreateFunction --region ap-guangzhou --timeout 'a b' --cli-input-json file:///dev/stdin <<'JSON'\n{\"A\":\"it's\",\"Token\":\"***\"}\nJSON"
        );
        assert!(!format!("{call:?}").contains("MARKER"));
        assert_eq!(call.sent().unwrap()["Token"], "MARKER-TOKEN");
        assert_eq!(call.redacted("no MARKER-TOKEN here"), "no *** here");
        let call = Call::new(Tool::Aws, "lambda", "invoke", "eu-west-1", json!({"A": "it's"}));
        assert_eq!(call.shown(), r#"aws lambda invoke --region eu-west-1 --cli-input-json '{"A":"it'\''s"}'"#);
    }
}
