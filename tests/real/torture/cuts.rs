//! Relays that cut a connection after so many bytes in one direction, wherever in a request or an answer that is.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::door::shown;
use crate::torture::plan::{WAYS, Way};

/// One relay before the broker and one before the store; both live as long as the test.
pub struct Cuts {
    /// `host:port`
    pub broker: String,
    pub store: String,
    counted: Arc<Mutex<Counted>>,
}

#[derive(Default)]
struct Counted {
    passed: [usize; WAYS.len()],
    cut: Option<(Way, usize)>,
}

impl Counted {
    /// How many of these bytes may pass, and whether the connection ends there.
    fn pass(&mut self, way: Way, bytes: usize) -> (usize, bool) {
        let passed = &mut self.passed[way as usize];
        let before = *passed;
        *passed += bytes;
        match self.cut {
            Some((cut, at)) if cut == way && at < before + bytes => {
                self.cut = None;
                (at.saturating_sub(before), true)
            }
            _ => (bytes, false),
        }
    }
}

impl Cuts {
    /// `broker` and `store`: `host:port`.
    pub fn before(broker: &str, store: &str) -> Cuts {
        let counted = Arc::new(Mutex::new(Counted::default()));
        let to_broker = relay(broker, &counted, Way::ToBroker, Way::FromBroker);
        Cuts { broker: to_broker, store: relay(store, &counted, Way::ToStore, Way::FromStore), counted }
    }

    /// Counts from nothing; the connection that carries the byte of this number, from 0, ends before it.
    pub fn begin(&self, cut: Option<(Way, usize)>) {
        *self.counted.lock().unwrap() = Counted { cut, ..Counted::default() };
    }

    /// What has crossed since [`Cuts::begin`], and whether a cut is still to come.
    pub fn passed(&self) -> ([usize; WAYS.len()], bool) {
        let counted = self.counted.lock().unwrap();
        (counted.passed, counted.cut.is_some())
    }
}

fn relay(to: &str, counted: &Arc<Mutex<Counted>>, there: Way, back: Way) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().to_string();
    let (counted, to, door) = (Arc::clone(counted), to.to_owned(), own.clone());
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // While the other side is down nobody answers here either.
            let Ok(server) = TcpStream::connect(&to) else { continue };
            let sockets = [&client, &server, &server, &client].map(|socket| {
                socket.set_nodelay(true).unwrap();
                socket.try_clone().unwrap()
            });
            let [from_client, to_server, from_server, to_client] = sockets;
            let (up, down) = (Arc::clone(&counted), Arc::clone(&counted));
            let lookup = (back == Way::FromBroker).then(|| (to.clone(), door.clone()));
            thread::spawn(move || forward(from_client, to_server, &up, there, None));
            thread::spawn(move || forward(from_server, to_client, &down, back, lookup));
        }
    });
    own
}

/// Until either side is gone, and then both are. The broker's own address in a lookup's answer becomes the relay's.
fn forward(
    mut from: TcpStream,
    mut to: TcpStream,
    counted: &Mutex<Counted>,
    way: Way,
    lookup: Option<(String, String)>,
) {
    let mut next = || -> io::Result<Vec<u8>> {
        if let Some((broker, own)) = &lookup {
            return shown(&mut from, broker, own);
        }
        let mut bytes = vec![0; 1 << 16];
        let count = from.read(&mut bytes)?;
        bytes.truncate(count);
        Ok(bytes)
    };
    let mut cut = false;
    while !cut
        && let Ok(bytes) = next()
        && !bytes.is_empty()
    {
        let pass;
        (pass, cut) = counted.lock().unwrap().pass(way, bytes.len());
        if to.write_all(&bytes[..pass]).is_err() {
            break;
        }
    }
    // A goodbye leaves the other side time for its own; a cut does not.
    let how = if cut { Shutdown::Both } else { Shutdown::Write };
    let _ = (to.shutdown(how), from.shutdown(if cut { Shutdown::Both } else { Shutdown::Read }));
}
