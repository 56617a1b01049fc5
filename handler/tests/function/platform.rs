//! SCF's runtime API, acted as its document says (product 583, document 38129), and nothing kinder than that:
//!
//! * `/runtime/init/ready` wants a body; before it there are no events.
//! * `/runtime/invocation/next` waits as long as there is none, and gives the same one again until it is answered.
//! * The first answer to an event is its final one.
//!
//! Faults are scripts: one for each call that is to go wrong.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Longer than any run here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Ready,
    Next,
    Response,
    Error,
}

/// What becomes of one call.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Not carried out, and said so with this status.
    Status(u16),
    /// Not carried out: the connection ends without a byte.
    Cut,
    /// Carried out, and the connection ends within the answer.
    CutInside,
}

/// An event with its headers.
#[derive(Clone, Debug)]
pub struct Sent {
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Sent {
    /// As the platform sends it, with 60 seconds for the run.
    pub fn new(request: &str, body: &str) -> Self {
        Sent::with(&[("request_id", request), ("memory_limit_in_mb", "128"), ("time_limit_in_ms", "60000")], body)
    }

    pub fn with(headers: &[(&str, &str)], body: &str) -> Self {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Sent { headers, body: body.to_owned() }
    }
}

/// The final state of an invocation: the body of `response`, or of `error`.
pub type Told = Result<String, String>;

#[derive(Default)]
struct State {
    ready: bool,
    waiting: VecDeque<Sent>,
    current: Option<Sent>,
    told: Vec<Told>,
    faults: Vec<(Call, Fault)>,
    calls: Vec<Call>,
    /// What a runtime must not do.
    wrong: Vec<String>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    over: AtomicBool,
}

pub struct Platform {
    port: u16,
    shared: Arc<Shared>,
}

impl Platform {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Shared { state: Mutex::default(), changed: Condvar::new(), over: AtomicBool::new(false) };
        let shared = Arc::new(shared);
        let ours = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if ours.over.load(Relaxed) {
                    return;
                }
                let shared = Arc::clone(&ours);
                thread::spawn(move || stream.and_then(|stream| shared.serve(stream)));
            }
        });
        Platform { port, shared }
    }

    /// What the platform puts into the environment of a custom runtime, as far as it matters here.
    pub fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("SCF_RUNTIME_API", "127.0.0.1".into()),
            ("SCF_RUNTIME_API_PORT", self.port.to_string()),
            ("_HANDLER", "index.main_handler".into()),
            ("TENCENTCLOUD_RUNENV", "SCF".into()),
        ]
    }

    pub fn fail(&self, call: Call, faults: &[Fault]) {
        self.shared.lock().faults.extend(faults.iter().map(|fault| (call, *fault)));
    }

    /// One event, and what it came to. The runtime must do nothing that it must not.
    pub fn invoke(&self, event: Sent) -> Told {
        let mut state = self.shared.lock();
        let before = state.told.len();
        state.waiting.push_back(event);
        self.shared.changed.notify_all();
        let (state, late) = (self.shared.changed)
            .wait_timeout_while(state, PATIENCE, |state| state.told.len() == before)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!late.timed_out(), "no answer; calls: {:?}", state.calls);
        assert_eq!(state.wrong, [""; 0]);
        state.told[before].clone()
    }

    pub fn calls(&self) -> Vec<Call> {
        self.shared.lock().calls.clone()
    }

    /// Waits until the runtime asks for the event after the last one that was answered.
    pub fn until_it_waits(&self) {
        let state = self.shared.lock();
        let busy = |state: &mut State| state.calls.last() != Some(&Call::Next) || state.current.is_some();
        let (state, late) =
            self.shared.changed.wait_timeout_while(state, PATIENCE, busy).unwrap_or_else(PoisonError::into_inner);
        assert!(!late.timed_out(), "it does not ask; calls: {:?}", state.calls);
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.shared.over.store(true, Relaxed);
        self.shared.changed.notify_all();
        // So that the listener sees it.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let (line, body) = request(&mut stream)?;
        let call = match line.as_str() {
            "POST /runtime/init/ready HTTP/1.1" => Call::Ready,
            "GET /runtime/invocation/next HTTP/1.1" => Call::Next,
            "POST /runtime/invocation/response HTTP/1.1" => Call::Response,
            "POST /runtime/invocation/error HTTP/1.1" => Call::Error,
            other => {
                self.lock().wrong.push(format!("unknown call: {other}"));
                return answer(&mut stream, 404, &[], "");
            }
        };
        let fault = {
            let mut state = self.lock();
            state.calls.push(call);
            self.changed.notify_all();
            let at = state.faults.iter().position(|(planned, _)| *planned == call);
            at.map(|at| state.faults.remove(at).1)
        };
        match fault {
            Some(Fault::Status(status)) => return answer(&mut stream, status, &[], "out of order"),
            Some(Fault::Cut) => return Ok(()),
            Some(Fault::CutInside) | None => {}
        }
        let (status, headers, text) = match call {
            Call::Ready => (self.ready(&body), Vec::new(), String::new()),
            Call::Next => match self.next(&stream) {
                Some(event) => (200, event.headers, event.body),
                None => return Ok(()),
            },
            Call::Response => (self.answered(Ok(body)), Vec::new(), String::new()),
            Call::Error => (self.answered(Err(body)), Vec::new(), String::new()),
        };
        if fault.is_some() {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        }
        answer(&mut stream, status, &headers, &text)
    }

    fn ready(&self, body: &str) -> u16 {
        if body.is_empty() {
            self.lock().wrong.push("ready without a body".into());
            return 400;
        }
        self.lock().ready = true;
        200
    }

    /// The event to be carried out; `None` where whoever asked is gone.
    fn next(&self, stream: &TcpStream) -> Option<Sent> {
        stream.set_nonblocking(true).ok()?;
        let mut state = self.lock();
        if !state.ready {
            state.wrong.push("asked for an event before it was ready".into());
        }
        loop {
            if self.over.load(Relaxed) || matches!(stream.peek(&mut [0]), Ok(0)) {
                return None;
            }
            if state.current.is_none() {
                state.current = state.waiting.pop_front();
            }
            if let Some(event) = &state.current {
                stream.set_nonblocking(false).ok()?;
                return Some(event.clone());
            }
            // Whether whoever asked is still there is looked at now and then.
            let pause = Duration::from_millis(50);
            state = self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn answered(&self, told: Told) -> u16 {
        let mut state = self.lock();
        if state.current.take().is_some() {
            state.told.push(told);
        }
        self.changed.notify_all();
        200
    }
}

/// The request line and the body.
fn request(stream: &mut TcpStream) -> io::Result<(String, String)> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, &mut bytes)?;
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let headers = text.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = headers.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = lengths.next().and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0);
    while bytes.len() < head + length {
        more(stream, &mut bytes)?;
    }
    let body = String::from_utf8_lossy(&bytes[head..head + length]).into_owned();
    Ok((text.lines().next().unwrap_or_default().to_owned(), body))
}

fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read => {
            bytes.extend_from_slice(&buffer[..read]);
            Ok(())
        }
    }
}

fn answer(stream: &mut TcpStream, status: u16, headers: &[(String, String)], body: &str) -> io::Result<()> {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "HTTP/1.1 {status} -\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len())
}
