//! A way in to a broker that something happens at: after so many bytes for the program, while nothing crosses.
//!
//! ```text
//!  program ──▶ door ──▶ broker      the broker's own address in a lookup's answer becomes the door's
//!          ◀──      ◀──             at the scripted byte: the event; then on, or the connection is cut there
//! ```

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::proxies::{bare, frame};

/// True where the connection is to be cut.
type Event = Box<dyn FnOnce() -> bool + Send>;

pub struct Door {
    pub address: String,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    passed: usize,
    event: Option<(usize, Event)>,
}

impl Door {
    /// `broker`: `host:port`, which is also what it calls itself.
    pub fn before(broker: &str) -> Door {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (all, own, broker) = (Arc::clone(&shared), address.clone(), broker.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // While the broker is down nobody answers here either.
                let Ok(server) = TcpStream::connect(&broker) else { continue };
                let (shared, own, broker) = (Arc::clone(&all), own.clone(), broker.clone());
                let up = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || {
                    let (mut from, mut to) = up;
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
                thread::spawn(move || {
                    let _ = down(&server, &client, &shared, &broker, &own);
                    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
                });
            }
        });
        Door { address, shared }
    }

    /// Bytes that went to the program so far.
    pub fn passed(&self) -> usize {
        self.shared.lock().unwrap().passed
    }

    /// After so many more bytes `event` happens.
    pub fn after(&self, bytes: usize, event: impl FnOnce() -> bool + Send + 'static) {
        let mut shared = self.shared.lock().unwrap();
        shared.event = Some((shared.passed + bytes, Box::new(event)));
    }
}

fn down(mut from: &TcpStream, mut to: &TcpStream, shared: &Mutex<Shared>, broker: &str, own: &str) -> io::Result<()> {
    loop {
        let frame = shown(&mut from, broker, own)?;
        // Held while the event happens: nothing crosses meanwhile, on no connection.
        let mut shared = shared.lock().unwrap();
        let left = shared.event.as_ref().map(|(at, _)| at.saturating_sub(shared.passed));
        shared.passed += frame.len();
        match left.filter(|left| *left < frame.len()) {
            Some(left) => {
                to.write_all(&frame[..left])?;
                let cut = shared.event.take().is_some_and(|(_, event)| event());
                if cut {
                    return Ok(());
                }
                to.write_all(&frame[left..])?;
            }
            None => to.write_all(&frame)?,
        }
    }
}

/// One whole frame, as the program is to see it.
pub fn shown(from: &mut impl Read, broker: &str, own: &str) -> io::Result<Vec<u8>> {
    let (bytes, mut command) = frame(from)?;
    if let Some(found) = &mut command.lookup_topic_response
        && found.broker_service_url.as_deref() == Some(&format!("pulsar://{broker}"))
    {
        found.broker_service_url = Some(format!("pulsar://{own}"));
        return Ok(bare(&command));
    }
    Ok(bytes)
}
