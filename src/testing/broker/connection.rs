//! One connection: commands in, one after another; frames out, in the order they were put.

use std::future;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use pulsar::proto::BaseCommand;
use pulsar::proto::base_command::Type;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc};

use super::record::Recorded;
use super::script::Act;
use super::{Shared, frame};

pub(super) enum Out {
    /// Two parts of one frame, so that an entry is never copied.
    Frame(Bytes, Bytes),
    /// Everything before it is sent; then the connection ends.
    Close,
}

/// What becomes of the connection after a command.
pub(super) enum Next {
    Read,
    /// Ends at once.
    Drop,
    /// Ends when what was put on it is sent.
    Flush,
}

/// Serves the connection until either side ends it. Its consumers are gone by then, also when the task
/// is aborted.
pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let (mut read, write) = stream.into_split();
    let (out, queue) = mpsc::unbounded_channel();
    let kill = Arc::new(Notify::new());
    let id = shared.lock().connect(out, Arc::clone(&kill));
    let attached = Attached { shared: Arc::clone(&shared), id };
    let flushed = tokio::select! {
        biased;
        () = kill.notified() => false,
        () = send_frames(write, queue, &shared) => true,
        () = read_commands(&mut read, &shared, id) => false,
    };
    drop(attached);
    if flushed {
        // Closing with unread bytes would reset the connection and may take the last answer with it.
        let _ = tokio::io::copy(&mut read, &mut tokio::io::sink()).await;
    }
}

struct Attached {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.shared.lock().disconnect(self.id);
        self.shared.changed.notify_waiters();
    }
}

async fn send_frames(mut write: OwnedWriteHalf, mut queue: mpsc::UnboundedReceiver<Out>, shared: &Shared) {
    while let Some(Out::Frame(head, body)) = queue.recv().await {
        for part in [head, body] {
            let allowed = shared.lock().allow(part.len());
            if write.write_all(&part[..allowed]).await.is_err() || allowed < part.len() {
                return;
            }
        }
    }
    let _ = write.shutdown().await;
}

async fn read_commands(read: &mut OwnedReadHalf, shared: &Shared, id: u64) {
    while let Some((raw, rest)) = frame::read(read).await {
        match receive(raw, rest, shared, id).await {
            Some(Next::Read) => {}
            Some(Next::Flush) => {
                shared.lock().put(id, Out::Close);
                return future::pending().await;
            }
            Some(Next::Drop) | None => return,
        }
    }
}

async fn receive(raw: Bytes, rest: Bytes, shared: &Shared, id: u64) -> Option<Next> {
    let command = BaseCommand::decode(raw.clone()).ok()?;
    let kind = Type::try_from(command.r#type).ok()?;
    let (index, act) = {
        let mut state = shared.lock();
        state.commands.push(Recorded { connection: id, kind, command: command.clone(), raw, rest, answered: false });
        (state.commands.len() - 1, state.script.hit(kind))
    };
    shared.changed.notify_waiters();
    if let Some(Act::Delay(time)) = act {
        tokio::time::sleep(time).await;
    }
    let next = shared.lock().perform(id, index, &command, act);
    shared.changed.notify_waiters();
    Some(next)
}
