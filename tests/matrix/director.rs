//! What becomes of each request of a cell's runs: the death, once, and each fault, once.
//!
//! Every fault meets the first request of its kind that the death does not take, whichever run that is of. So each
//! of them happens to a living run in every cell, before the death or in a run that recovers from it.

use super::cells::{AckFault, Cell, HeadFault, Moment, Step, StoreFault};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Pass,
    /// Not carried out; its process is dead.
    Dies,
    /// Carried out; its process is dead.
    DiesAfter,
    /// Its process is dead, and it is carried out just before its successor's.
    DiesUnderWay,
    Refused,
    /// Carried out, and the connection closed.
    Unanswered,
    /// Not carried out, and the connection closed.
    Lost,
    /// Carried out after a while.
    Late,
    /// Answered with success, and not carried out.
    Unconfirmed,
}

pub struct Director {
    cell: Cell,
    /// The last step of this run.
    last: Option<Step>,
    died: bool,
    dead: bool,
    faults: Vec<Step>,
    /// What happened in this run.
    met: Vec<Fate>,
}

impl Director {
    pub fn new(cell: Cell) -> Self {
        let mut faults = vec![Step::Store, Step::Acknowledge];
        if cell.head != HeadFault::Stored {
            faults.push(Step::Announce);
        }
        Director { cell, last: None, died: false, dead: false, faults, met: Vec::new() }
    }

    /// Another run.
    pub fn begin(&mut self) {
        (self.last, self.dead) = (None, false);
        self.met.clear();
    }

    pub fn is_dead(&self) -> bool {
        self.dead
    }

    pub fn has_met(&self, fates: &[Fate]) -> bool {
        self.met.iter().any(|fate| fates.contains(fate))
    }

    /// Whether all that the cell consists of has happened.
    pub fn is_over(&self) -> bool {
        self.died && self.faults.is_empty()
    }

    /// A request arrives: Pulsar's name of the command, or method and what of the store's.
    pub fn meet(&mut self, request: &str) -> Fate {
        if self.dead {
            return Fate::Dies;
        }
        let Some(step) = self.step(request) else { return Fate::Pass };
        self.last = Some(step);
        let fate = self.fate(step);
        self.met.push(fate);
        fate
    }

    /// The same question is asked at several steps: what came before it tells them apart.
    fn step(&self, request: &str) -> Option<Step> {
        match (request, self.last) {
            ("FLOW", None) => Some(Step::Read),
            ("GET_LAST_MESSAGE_ID", Some(Step::Read | Step::Receipt)) => Some(Step::Look),
            ("GET listing", Some(Step::Look)) => Some(Step::List),
            ("PUT head", _) => Some(Step::Announce),
            ("GET_LAST_MESSAGE_ID", Some(Step::Announce)) => Some(Step::LookAgain),
            ("PUT object", _) => Some(Step::Store),
            ("ACK", _) => Some(Step::Acknowledge),
            ("GET_LAST_MESSAGE_ID", Some(Step::Acknowledge)) => Some(Step::Receipt),
            _ => None,
        }
    }

    fn fate(&mut self, step: Step) -> Fate {
        if step == self.cell.step && !self.died {
            (self.died, self.dead) = (true, true);
            let slow = step == Step::Store && self.cell.store == StoreFault::Slow;
            return match self.cell.moment {
                Moment::At => Fate::Dies,
                Moment::After if slow => {
                    self.faults.retain(|left| *left != Step::Store);
                    Fate::DiesUnderWay
                }
                Moment::After => Fate::DiesAfter,
            };
        }
        let Some(at) = self.faults.iter().position(|left| *left == step) else { return Fate::Pass };
        match self.faults.remove(at) {
            Step::Store => match self.cell.store {
                StoreFault::Refused => Fate::Refused,
                StoreFault::Unanswered => Fate::Unanswered,
                StoreFault::Slow => Fate::Late,
            },
            Step::Acknowledge => match self.cell.ack {
                AckFault::Lost => Fate::Lost,
                AckFault::Late => Fate::Late,
                AckFault::Unconfirmed => Fate::Unconfirmed,
            },
            _ => match self.cell.head {
                HeadFault::NotStored => Fate::Refused,
                HeadFault::Stored | HeadFault::Unanswered => Fate::Unanswered,
            },
        }
    }
}
