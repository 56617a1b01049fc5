//! What crosses between the program and its two partners, and the script of where that stops.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::proxies::http;

/// Where in a request's life the world stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It was sent, and does not reach the other side.
    Seen,
    /// Half of its body reaches the other side.
    Half,
    /// It was answered, and the answer does not arrive.
    Answered,
}

#[derive(Clone, Copy, Debug)]
pub enum Script {
    Watch,
    /// At the request of this number, from 1.
    StopAt(usize, Moment),
    /// After this many bytes of entries.
    StopAfterBytes(usize),
    /// Just before the request of this number the store gets another one: that of a dead run, late.
    LateBefore(usize),
}

/// Decides on each request: its name and its bytes.
pub type Direct = Box<dyn Fn(&str, &[u8]) -> Verdict + Send + Sync>;

/// The wire that whoever connects next is on: relays outlive runs.
#[derive(Clone)]
pub struct Current(Arc<Mutex<Arc<Wire>>>);

impl Current {
    pub fn of(wire: &Arc<Wire>) -> Self {
        Current(Arc::new(Mutex::new(Arc::clone(wire))))
    }

    pub fn set(&self, wire: &Arc<Wire>) {
        *self.0.lock().unwrap() = Arc::clone(wire);
    }

    pub fn get(&self) -> Arc<Wire> {
        Arc::clone(&self.0.lock().unwrap())
    }
}

pub struct Wire {
    script: Script,
    direct: Option<Direct>,
    late: Late,
    reached: Sender<Option<String>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stopped: bool,
    requests: Vec<String>,
    /// The request that was seen and not forwarded, whole.
    held: Vec<u8>,
    late_status: Option<u16>,
    entry_bytes: usize,
    sockets: Vec<TcpStream>,
}

/// A request that its sender did not live to see arrive.
#[derive(Clone, Debug, Default)]
pub struct Late {
    /// `host:port`
    pub store: String,
    pub request: Vec<u8>,
}

impl Late {
    /// Lets it arrive now; the status of the answer, which nobody waits for.
    pub fn arrive(&self) -> u16 {
        let mut server = TcpStream::connect(&self.store).unwrap();
        server.write_all(&self.request).unwrap();
        let (head, _) = http(&mut server, false).unwrap();
        head.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

pub enum Verdict {
    Pass,
    Half,
    Withhold,
    Stop,
    /// Not forwarded, and its connection closed.
    Lose,
    /// Forwarded, and its connection closed instead of the answer.
    Unanswered,
    /// Forwarded after this time.
    Slow(Duration),
    /// Not forwarded, and answered: the store's with a refusal, an acknowledgement with a receipt.
    Forge,
}

impl Wire {
    /// `None` is sent on `reached` when the script's moment has come.
    pub fn new(script: Script, late: Late, reached: Sender<Option<String>>) -> Arc<Self> {
        Arc::new(Wire { script, direct: None, late, reached, state: Mutex::default() })
    }

    /// A wire whose every request `direct` decides on.
    pub fn directed(direct: Direct, reached: Sender<Option<String>>) -> Arc<Self> {
        let (script, late) = (Script::Watch, Late::default());
        Arc::new(Wire { script, direct: Some(direct), late, reached, state: Mutex::default() })
    }

    /// The answer to the late request, once it was delivered.
    pub fn late_status(&self) -> Option<u16> {
        self.state().late_status
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    pub fn entry_bytes(&self) -> usize {
        self.state().entry_bytes
    }

    /// The request that never left, for who wants it to arrive late.
    pub fn held(&self) -> Vec<u8> {
        self.state().held.clone()
    }

    /// Closes everything, as the kernel does for a dead process.
    pub fn close(&self) {
        for socket in self.state().sockets.drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Notes a request, and what is to become of it.
    pub fn request(&self, label: String, bytes: &[u8]) -> Verdict {
        if let Some(direct) = &self.direct {
            return direct(&label, bytes);
        }
        let mut state = self.state();
        state.requests.push(label);
        match self.script {
            Script::StopAt(number, moment) if number == state.requests.len() => match moment {
                Moment::Answered => Verdict::Withhold,
                Moment::Half => Verdict::Half,
                Moment::Seen => {
                    state.held = bytes.to_vec();
                    Verdict::Stop
                }
            },
            Script::LateBefore(number) if number == state.requests.len() => {
                state.late_status = Some(self.late.arrive());
                Verdict::Pass
            }
            _ => Verdict::Pass,
        }
    }

    /// Nothing crosses from now on, and the test is told. The error ends the relay's thread.
    pub fn stop(&self) -> io::Error {
        self.state().stopped = true;
        let _ = self.reached.send(None);
        io::ErrorKind::Interrupted.into()
    }

    pub fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Will be closed with everything else.
    pub fn keep(&self, socket: TcpStream) {
        self.state().sockets.push(socket);
    }

    /// Passes bytes on, unless the world stands still.
    pub fn forward(&self, to: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
        if self.state().stopped {
            return Err(io::ErrorKind::Interrupted.into());
        }
        to.write_all(bytes)
    }

    /// How many of an entry's bytes may still pass.
    pub fn entry(&self, bytes: usize) -> usize {
        let mut state = self.state();
        let before = state.entry_bytes;
        state.entry_bytes += bytes;
        match self.script {
            Script::StopAfterBytes(most) => most.saturating_sub(before).min(bytes),
            _ => bytes,
        }
    }
}
