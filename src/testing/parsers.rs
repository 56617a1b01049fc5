//! The parsers that lie behind a connection, for what attacks them with bytes that no server would send.
//!
//! What has an entrance of its own (a head, a rule, an event, an object) is attacked there.

use bytes::BytesMut;

use crate::pulsar::{frame, lookup};
use crate::{Entry, Position, Result};

/// Takes `bytes` apart as a connection does, with frames of at most `most` bytes of payload, and answers the entries in
/// it; their partition is -1.
///
/// Errors: `Corrupt` or `Invalid`, as a connection ends with them. A frame that is not whole is left.
pub fn entries(bytes: &[u8], most: usize) -> Result<Vec<Entry>> {
    let mut inbox = BytesMut::from(bytes);
    let mut entries = Vec::new();
    loop {
        let before = inbox.len();
        let taken = match frame::take(&mut inbox, most)? {
            Ok(taken) => taken,
            Err(wanted) => {
                assert!(wanted > inbox.len() && inbox.len() == before, "a frame that is there was not taken");
                return Ok(entries);
            }
        };
        let mut again = BytesMut::new();
        frame::put(&mut again, &taken.command, &[]);
        let same = frame::take(&mut again, usize::MAX / 2)?.map(|frame| frame.command);
        assert_eq!(same.as_ref(), Ok(&taken.command), "a command is another one when it is sent on");
        let Some(message) = taken.command.message else { continue };
        let length = taken.rest.len();
        let delivered = frame::delivered(taken.rest)?;
        entries.push(Entry {
            position: Position::new(message.message_id.ledger_id as i64, message.message_id.entry_id as i64),
            partition: -1,
            broker: delivered.broker,
            metadata: delivered.metadata,
            size: length + delivered.overhead,
            unreadable: delivered.unreadable,
            payload: delivered.payload,
            first_chunk: None,
        });
    }
}

/// What the frame of an answer to a lookup or to a question for partitions says: a broker's `host:port`, or a number.
///
/// Errors: as of the question. A frame that is not whole says nothing.
pub fn said(frame: &[u8], with_tls: bool) -> Result<String> {
    match frame::take(&mut BytesMut::from(frame), 5 << 20)? {
        Ok(frame) => lookup::said(frame.command, with_tls),
        Err(_) => Ok(String::new()),
    }
}

/// The `host:port` that the answer to a lookup over HTTP names.
///
/// Errors: as of the lookup.
pub fn broker_in(answer: &[u8], with_tls: bool) -> Result<String> {
    lookup::broker_in(answer, with_tls)
}
