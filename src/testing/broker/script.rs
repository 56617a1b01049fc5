//! Faults as a script: which command, counted, and what happens instead of the usual.

use std::time::Duration;

use pulsar::proto::ServerError;
use pulsar::proto::base_command::Type as CommandType;

/// The moment of a fault: the nth command of a kind from the moment it is scripted, over all connections.
#[derive(Clone, Copy, Debug)]
pub struct When {
    kind: CommandType,
    nth: usize,
}

impl When {
    /// `n` counts from 1. With [`CommandType::Message`] the nth message sent, with any other kind the
    /// nth such command received.
    pub fn nth(kind: CommandType, n: usize) -> Self {
        assert!(n > 0, "commands are counted from 1");
        When { kind, nth: n }
    }

    pub fn next(kind: CommandType) -> Self {
        When::nth(kind, 1)
    }
}

/// What happens instead. Those marked * also apply to a message that is being sent.
#[derive(Clone, Debug)]
pub enum Act {
    /// * The connection closes in place of the command. Nothing was carried out.
    DropConnection,
    /// * Neither carried out nor answered; the connection stays. A message is passed over.
    NoAnswer,
    /// Carried out after this time; what follows on the connection waits too.
    Delay(Duration),
    /// Not carried out; answered with this error, in the form that belongs to the command.
    Error(ServerError, String),
    /// Carried out, answered, and then the connection closes.
    AnswerThenDrop,
    /// Carried out, not answered. Not only for acknowledgements.
    AckButNoReceipt,
    /// Carried out, answered first: a seek whose consumer hears of its end after the success.
    AnswerBeforeClose,
    /// Answered as if it had been carried out: an acknowledgement, a seek, a close.
    ReceiptButNoAck,
    /// * The message is sent under a wrong checksum. Only for messages.
    CorruptCrc,
    /// * The broker closes the command's consumer first, then looks at the command.
    ClosesConsumer,
    /// Only for a lookup: ask there.
    Redirect { url: String, authoritative: bool },
    /// Only for a lookup: this is the broker, to be reached through the service address.
    ThroughProxy { broker: String },
}

impl Act {
    fn fits(&self, kind: CommandType) -> bool {
        match self {
            Act::DropConnection | Act::NoAnswer | Act::ClosesConsumer => true,
            Act::CorruptCrc => kind == CommandType::Message,
            Act::Redirect { .. } | Act::ThroughProxy { .. } => kind == CommandType::Lookup,
            Act::AnswerBeforeClose => kind == CommandType::Seek,
            Act::Delay(_) | Act::Error(..) | Act::AnswerThenDrop | Act::AckButNoReceipt | Act::ReceiptButNoAck => {
                kind != CommandType::Message
            }
        }
    }
}

/// Decides on each command as it comes.
type Director = Box<dyn FnMut(CommandType) -> Option<Act> + Send>;

#[derive(Default)]
pub(super) struct Script {
    planned: Vec<(When, usize, Act)>,
    director: Option<Director>,
}

impl Script {
    pub fn plan(&mut self, when: When, act: Act) {
        assert!(act.fits(when.kind), "{act:?} cannot happen to {:?}", when.kind);
        self.planned.push((when, 0, act));
    }

    pub fn direct(&mut self, director: Director) {
        self.director = Some(director);
    }

    /// Counts one command and says what happens to it. Of several acts that are due, the first; the
    /// others follow with the next commands of the kind.
    pub fn hit(&mut self, kind: CommandType) -> Option<Act> {
        for (when, seen, _) in &mut self.planned {
            *seen += usize::from(when.kind == kind);
        }
        let due = self.planned.iter().position(|(when, seen, _)| when.kind == kind && *seen >= when.nth);
        let act = match due {
            Some(due) => self.planned.remove(due).2,
            None => self.director.as_mut()?(kind)?,
        };
        assert!(act.fits(kind), "{act:?} cannot happen to {kind:?}");
        Some(act)
    }

    pub fn left(&self) -> usize {
        self.planned.len()
    }
}
