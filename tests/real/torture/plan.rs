//! What is done to one topic. Everything here comes from the seed; what the operating system makes of it does not.

use std::fmt;
use std::ops::AddAssign;

use crate::torture::dice::Dice;

/// Of a connection that is cut: which way the bytes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToBroker,
    FromBroker,
    ToStore,
    FromStore,
}

pub const WAYS: [Way; 4] = [Way::ToBroker, Way::FromBroker, Way::ToStore, Way::FromStore];

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// SIGKILL of the function.
    Function,
    /// SIGKILL of the broker, which comes back on the same data.
    Broker,
    /// SIGKILL of the store, which comes back with its objects.
    Store,
    Cut(Way),
    /// SIGSTOP of the function; SIGCONT after its successor ran. The broker gives its subscription to somebody else
    /// because the topic is unloaded, or because nobody answers it any more.
    Frozen {
        unloaded: bool,
    },
}

/// How many of each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kills {
    pub functions: usize,
    pub broker: usize,
    pub store: usize,
    pub connections: usize,
    pub frozen: usize,
}

impl AddAssign for Kills {
    fn add_assign(&mut self, more: Kills) {
        self.functions += more.functions;
        self.broker += more.broker;
        self.store += more.store;
        self.connections += more.connections;
        self.frozen += more.frozen;
    }
}

impl fmt::Display for Kills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kills { functions, broker, store, connections, frozen } = self;
        write!(f, "{functions} + {broker} + {store} + {connections} + {frozen} kills")
    }
}

impl Kills {
    pub fn count(&mut self, fault: Fault) {
        let which = match fault {
            Fault::Function => &mut self.functions,
            Fault::Broker => &mut self.broker,
            Fault::Store => &mut self.store,
            Fault::Cut(_) => &mut self.connections,
            Fault::Frozen { .. } => &mut self.frozen,
        };
        *which += 1;
    }
}

pub struct Plan {
    pub seed: u64,
    /// 0: a plain topic.
    pub partitions: u32,
    pub chunks: bool,
    pub max_messages: u64,
    pub max_objects: u64,
    pub faults: Vec<Fault>,
    /// Of the instants, which depend on how often a run was over before its turn came.
    pub dice: Dice,
}

impl Plan {
    pub fn of(seed: u64, kills: Kills) -> Plan {
        let mut dice = Dice::new(seed);
        let partitions = dice.pick(&[0, 0, 2, 3]);
        let chunks = dice.one_in(3);
        let (max_messages, max_objects) = (dice.pick(&[20, 60, 150]), dice.pick(&[2, 4]));
        let several = |count, fault| vec![fault; count];
        let mut faults = [
            several(kills.functions, Fault::Function),
            several(kills.broker, Fault::Broker),
            several(kills.store, Fault::Store),
            (0..kills.connections).map(|_| Fault::Cut(dice.pick(&WAYS))).collect(),
            (0..kills.frozen).map(|_| Fault::Frozen { unloaded: dice.one_in(2) }).collect(),
        ]
        .concat();
        for left in (1..faults.len()).rev() {
            faults.swap(left, dice.roll(left as u64 + 1) as usize);
        }
        Plan { seed, partitions, chunks, max_messages, max_objects, faults, dice }
    }

    /// The topic's partitions as ids and folders number them.
    pub fn numbers(&self) -> Vec<i32> {
        if self.partitions == 0 { vec![-1] } else { (0..self.partitions as i32).collect() }
    }
}
