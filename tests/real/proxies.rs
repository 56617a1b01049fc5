//! Two relays, before the broker and before the store, that see every request and can stop the world at one of them.
//!
//! ```text
//!  program ──▶ relay ──▶ broker        each request gets a number, over both connections; at the scripted one
//!          ──▶ relay ──▶ store         nothing crosses any more, in either direction, and the test is told
//! ```

use std::io::{self, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use prost::Message as _;
use pulsar::proto::{BaseCommand, CommandAck, CommandAckResponse, base_command::Type};

use crate::wire::{Current, Verdict, Wire};

const REFUSAL: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nContent-Length: 75\r\n\r\n\
    <Error><Code>AccessDenied</Code><Message>not by this test</Message></Error>";

/// One connection's two directions share what the answer to wait for is.
type Awaited = Arc<Mutex<Option<Type>>>;

/// Listens in front of a broker, and answers `host:port`.
pub fn before_broker(wire: &Current, broker: &str) -> String {
    let address = format!("pulsar://{broker}");
    relay(wire, broker, move |wire, door, client, server| {
        let awaited = Awaited::default();
        let (there, back) = ((client.try_clone()?, server.try_clone()?), (server, client));
        let (watching, waiting, address) = (Arc::clone(&wire), Arc::clone(&awaited), address.clone());
        thread::spawn(move || {
            let leaving = there.1.try_clone();
            let _ = to_broker(&watching, there.0, there.1, &waiting);
            // The program said goodbye and waits for the broker's: only he can close the rest.
            if let (Ok(broker), false) = (leaving, watching.is_stopped()) {
                let _ = broker.shutdown(Shutdown::Write);
            }
        });
        from_broker(&wire, back.0, back.1, &awaited, &address, &door)
    })
}

fn to_broker(wire: &Wire, mut from: TcpStream, mut to: TcpStream, awaited: &Awaited) -> io::Result<()> {
    loop {
        let (frame, command) = frame(&mut from)?;
        let kind = command.r#type();
        if kind != Type::Pong {
            match wire.request(kind.as_str_name().to_owned(), &frame) {
                Verdict::Pass => {}
                Verdict::Withhold => *awaited.lock().unwrap() = Some(kind),
                Verdict::Half | Verdict::Stop => return Err(wire.stop()),
                Verdict::Lose | Verdict::Unanswered => return Err(io::ErrorKind::ConnectionAborted.into()),
                Verdict::Slow(time) => thread::sleep(time),
                Verdict::Forge => {
                    wire.forward(&mut from, &receipt(command))?;
                    continue;
                }
            }
        }
        wire.forward(&mut to, &frame)?;
    }
}

fn from_broker(
    wire: &Wire,
    mut from: TcpStream,
    mut to: TcpStream,
    awaited: &Awaited,
    broker: &str,
    door: &str,
) -> io::Result<()> {
    loop {
        let (mut frame, mut command) = frame(&mut from)?;
        let kind = command.r#type();
        if let Some(asked) = *awaited.lock().unwrap() {
            // Entries may come before any answer; to FLOW they are the answer.
            let answer = asked == Type::Flow || kind != Type::Message;
            if answer && kind != Type::Ping {
                return Err(wire.stop());
            }
        }
        if kind == Type::Message {
            let pass = wire.entry(frame.len());
            wire.forward(&mut to, &frame[..pass])?;
            if pass < frame.len() {
                return Err(wire.stop());
            }
            continue;
        }
        // The broker's own address would lead past us.
        if let Some(found) = &mut command.lookup_topic_response
            && found.broker_service_url.as_deref() == Some(broker)
        {
            found.broker_service_url = Some(format!("pulsar://{door}"));
            frame = bare(&command);
        }
        wire.forward(&mut to, &frame)?;
    }
}

/// What the broker answers to an acknowledgement, done or not.
fn receipt(command: BaseCommand) -> Vec<u8> {
    let CommandAck { consumer_id, request_id, .. } = command.ack.expect("only acknowledgements have receipts");
    let answer = CommandAckResponse { consumer_id, request_id, ..Default::default() };
    bare(&BaseCommand { r#type: Type::AckResponse as i32, ack_response: Some(answer), ..Default::default() })
}

/// The frame of a command with nothing behind it.
pub fn bare(command: &BaseCommand) -> Vec<u8> {
    let size = command.encoded_len() as u32;
    [&(size + 4).to_be_bytes()[..], &size.to_be_bytes(), &command.encode_to_vec()].concat()
}

/// `[total u32][command size u32][command]…`, whole.
pub fn frame(from: &mut impl Read) -> io::Result<(Vec<u8>, BaseCommand)> {
    let mut bytes = vec![0; 4];
    from.read_exact(&mut bytes)?;
    let total = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
    bytes.resize(4 + total, 0);
    from.read_exact(&mut bytes[4..])?;
    let size = u32::from_be_bytes(bytes[4..8].try_into().unwrap()) as usize;
    let command = BaseCommand::decode(&bytes[8..8 + size]).map_err(io::Error::other)?;
    Ok((bytes, command))
}

/// Listens in front of an S3 server, and answers `host:port`.
pub fn before_store(wire: &Current, store: &str) -> String {
    relay(wire, store, |wire, _, mut client, mut server| {
        loop {
            let (head, body) = http(&mut client, false)?;
            let label = label(&head);
            let request = [head.as_bytes(), &body].concat();
            let verdict = wire.request(label.clone(), &request);
            match verdict {
                Verdict::Stop => return Err(wire.stop()),
                Verdict::Half => {
                    wire.forward(&mut server, &request[..head.len() + body.len() / 2])?;
                    return Err(wire.stop());
                }
                Verdict::Lose => return Err(io::ErrorKind::ConnectionAborted.into()),
                Verdict::Forge => {
                    wire.forward(&mut client, REFUSAL)?;
                    continue;
                }
                Verdict::Slow(time) => {
                    thread::sleep(time);
                    wire.forward(&mut server, &request)?;
                }
                Verdict::Pass | Verdict::Withhold | Verdict::Unanswered => wire.forward(&mut server, &request)?,
            }
            let (head, body) = http(&mut server, label.starts_with("HEAD"))?;
            if matches!(verdict, Verdict::Withhold) {
                return Err(wire.stop());
            }
            if matches!(verdict, Verdict::Unanswered) {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            wire.forward(&mut client, &[head.as_bytes(), &body].concat())?;
        }
    })
}

fn label(head: &str) -> String {
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let what = match target {
        it if it.contains("list-type=2") => "listing",
        it if it.ends_with("_head.json") => "head",
        _ => "object",
    };
    format!("{method} {what}")
}

/// Head and body of a request or an answer; both sides here always say how long the body is.
pub fn http(from: &mut TcpStream, bodyless: bool) -> io::Result<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let lower = head.to_ascii_lowercase();
    assert!(!lower.contains("transfer-encoding:"), "{head}");
    let length =
        lower.lines().find_map(|line| line.strip_prefix("content-length:")).map_or(0, |it| it.trim().parse().unwrap());
    let mut body = vec![0; if bodyless { 0 } else { length }];
    from.read_exact(&mut body)?;
    Ok((head, body))
}

/// Accepts connections until the test process ends; each is served by a thread of its own.
fn relay(
    current: &Current,
    to: &str,
    serve: impl Fn(Arc<Wire>, String, TcpStream, TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let door = listener.local_addr().unwrap().to_string();
    let (current, to, own, serve) = (current.clone(), to.to_owned(), door.clone(), Arc::new(serve));
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, wire) = (client.unwrap(), current.get());
            let server = TcpStream::connect(&to).unwrap();
            for socket in [&client, &server] {
                socket.set_nodelay(true).unwrap();
                wire.keep(socket.try_clone().unwrap());
            }
            let (own, serve) = (own.clone(), Arc::clone(&serve));
            thread::spawn(move || {
                let ends = [client.try_clone().unwrap(), server.try_clone().unwrap()];
                let _ = serve(Arc::clone(&wire), own, client, server);
                // One side left: so does the other. While the world stands still nobody hears of anything.
                if !wire.is_stopped() {
                    ends.iter().for_each(|socket| drop(socket.shutdown(Shutdown::Both)));
                }
            });
        }
    });
    door
}
