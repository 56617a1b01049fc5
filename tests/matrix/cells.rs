//! The cells of the crash matrix: where a run dies, what else goes wrong, and how far the cursor is moved back then.
//!
//! One list for both: in process (`tests/run/matrix.rs`) and on real components (`tests/real/matrix.rs`).

use std::fmt;

/// A run's steps for one object, each one request. Looking is two: at the cursor, and for an object that begins
/// with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Read,
    Look,
    List,
    Announce,
    LookAgain,
    Store,
    Acknowledge,
    /// The question where the cursor stands after the acknowledgement.
    Receipt,
}

/// When the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The step's request has left the process, and does not arrive.
    At,
    /// It was carried out, and the answer does not arrive: between this step and the next.
    After,
}

/// What becomes of the first object's PUT that the death leaves alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    Refused,
    /// Stored, and the connection closed.
    Unanswered,
    /// Carried out later; where the process dies over it, only when its successor sends the same.
    Slow,
}

/// What becomes of the first acknowledgement that the death leaves alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckFault {
    /// With its connection.
    Lost,
    Late,
    /// A receipt comes, and the cursor does not move.
    Unconfirmed,
}

/// What becomes of the first announcement that the death leaves alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadFault {
    Stored,
    NotStored,
    /// Stored, and the connection closed.
    Unanswered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub step: Step,
    pub moment: Moment,
    pub store: StoreFault,
    pub ack: AckFault,
    pub head: HeadFault,
    /// Objects that the cursor is moved back over after the death.
    pub back: usize,
}

pub const STEPS: [Step; 8] = [
    Step::Read,
    Step::Look,
    Step::List,
    Step::Announce,
    Step::LookAgain,
    Step::Store,
    Step::Acknowledge,
    Step::Receipt,
];
pub const MOMENTS: [Moment; 2] = [Moment::At, Moment::After];
const STORE: [StoreFault; 3] = [StoreFault::Refused, StoreFault::Unanswered, StoreFault::Slow];
const ACK: [AckFault; 3] = [AckFault::Lost, AckFault::Late, AckFault::Unconfirmed];
const HEAD: [HeadFault; 3] = [HeadFault::Stored, HeadFault::NotStored, HeadFault::Unanswered];
const BACK: [usize; 3] = [0, 1, 5];

fn points() -> impl Iterator<Item = (Step, Moment)> {
    STEPS.into_iter().flat_map(|step| MOMENTS.map(|moment| (step, moment)))
}

fn cell((step, moment): (Step, Moment), [store, ack, head, back]: [usize; 4]) -> Cell {
    Cell { step, moment, store: STORE[store], ack: ACK[ack], head: HEAD[head], back: BACK[back] }
}

/// Every combination: 8 steps, 2 moments, 3⁴.
pub fn all() -> Vec<Cell> {
    let combinations = (0..81).map(|n| [n / 27, n / 9 % 3, n / 3 % 3, n % 3]);
    points().flat_map(|point| combinations.clone().map(move |values| cell(point, values))).collect()
}

/// Nine for each moment of each step, such that there each two values of two dimensions meet.
pub fn few() -> Vec<Cell> {
    let nine = (0..9).map(|n| (n / 3, n % 3)).map(|(a, b)| [a, b, (a + b) % 3, (a + 2 * b) % 3]);
    points().flat_map(|point| nine.clone().map(move |values| cell(point, values))).collect()
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match self.step {
            Step::Read => "read",
            Step::Look => "look",
            Step::List => "list",
            Step::Announce => "announce",
            Step::LookAgain => "look again",
            Step::Store => "store",
            Step::Acknowledge => "acknowledge",
            Step::Receipt => "receipt",
        };
        let moment = match self.moment {
            Moment::At => "at",
            Moment::After => "after",
        };
        let store = match self.store {
            StoreFault::Refused => "refused",
            StoreFault::Unanswered => "unanswered",
            StoreFault::Slow => "slow",
        };
        let ack = match self.ack {
            AckFault::Lost => "lost",
            AckFault::Late => "late",
            AckFault::Unconfirmed => "unconfirmed",
        };
        let head = match self.head {
            HeadFault::Stored => "stored",
            HeadFault::NotStored => "not stored",
            HeadFault::Unanswered => "unanswered",
        };
        write!(f, "dies {moment} {step}, store {store}, ack {ack}, head {head}, back {}", self.back)
    }
}
