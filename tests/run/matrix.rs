//! The crash matrix in process: the same cells as on real components (`make crash-matrix`).

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use tdmq_backup::Position;
use tdmq_backup::testing::broker::Act;
use tdmq_backup::testing::bucket::{Fault, Op};
use tokio::runtime;

use crate::history::cells::{self, Cell, MOMENTS, STEPS};
use crate::history::director::{Director, Fate};
use crate::history::truth::{Message, Place, Seen, messages_of};
use crate::history::{ENTRIES, ENTRIES_PER_OBJECT, Line, MESSAGES_PER_ENTRY, OBJECTS_BEFORE, Scene, act, lock, total};
use crate::world::{SUBSCRIPTION, World};

/// Of what is slow or late.
const WHILE: Duration = Duration::from_millis(20);
/// At a time, on each thread: most of them wait.
const AT_ONCE: usize = 16;

/// A world with five objects and entries for two more.
struct Stage {
    world: World,
    director: Arc<Mutex<Director>>,
}

/// What the five objects and their head are: every world's are the same, byte for byte.
type Template = Vec<(String, Vec<u8>, Vec<(String, String)>)>;

async fn world() -> World {
    let mut world = World::new().await;
    world.set("max_messages", ENTRIES_PER_OBJECT * MESSAGES_PER_ENTRY);
    world.set("max_objects", OBJECTS_BEFORE);
    world.send(&[MESSAGES_PER_ENTRY; ENTRIES]);
    world
}

async fn template() -> Template {
    let world = world().await;
    world.run().await;
    let file = |key: String| {
        let metadata = world.bucket.metadata(&key).unwrap().into_iter().collect();
        (key.clone(), world.bucket.read(&key).unwrap(), metadata)
    };
    world.bucket.keys().into_iter().map(file).collect()
}

impl Stage {
    async fn new(template: &Template, cell: Cell) -> Stage {
        let world = world().await;
        for (key, bytes, metadata) in template {
            world.bucket.plant(key, bytes, metadata).unwrap();
        }
        world.topic.subscribe_at_earliest(SUBSCRIPTION);
        let last = world.topic.entries()[OBJECTS_BEFORE * ENTRIES_PER_OBJECT - 1].position;
        world.topic.set_mark_delete(SUBSCRIPTION, last);

        let director = Arc::new(Mutex::new(Director::new(cell)));
        let broker = Arc::clone(&director);
        world.broker.direct(move |command| match lock(&broker).meet(command.as_str_name()) {
            Fate::Pass => None,
            Fate::Dies | Fate::Lost => Some(Act::DropConnection),
            // Nobody is left to see the answer.
            Fate::DiesAfter => None,
            Fate::Late => Some(Act::Delay(WHILE)),
            Fate::Unconfirmed => Some(Act::ReceiptButNoAck),
            fate @ (Fate::Refused | Fate::Unanswered | Fate::DiesUnderWay) => panic!("{fate:?} is the store's"),
        });
        let bucket = Arc::clone(&director);
        world.bucket.direct(move |op, path| {
            let request = match op {
                Op::List => "GET listing",
                Op::Put if path.ends_with("/_head.json") => "PUT head",
                Op::Put => "PUT object",
                _ => return None,
            };
            match lock(&bucket).meet(request) {
                Fate::Pass => None,
                Fate::Dies => Some(Fault::Drop),
                Fate::DiesAfter | Fate::Unanswered => Some(Fault::StoreThenDrop),
                Fate::DiesUnderWay => Some(Fault::UnderWay),
                Fate::Refused => Some(Fault::Refuse(403, "AccessDenied")),
                Fate::Late => Some(Fault::Slow(WHILE)),
                fate @ (Fate::Lost | Fate::Unconfirmed) => panic!("{fate:?} is the broker's"),
            }
        });
        Stage { world, director }
    }

    fn sent(&self) -> Vec<Message> {
        let at = self.world.topic.entries().into_iter().map(|entry| entry.position);
        let ids = at.flat_map(|at| (0..MESSAGES_PER_ENTRY).map(move |index| format!("{at}:-1:{index}")));
        let payload = |n| format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(20)).into_bytes();
        ids.zip(1..).map(|(id, n)| Message { id, payload: payload(n) }).collect()
    }
}

impl Scene for Stage {
    async fn run(&mut self) -> Option<Value> {
        let report = self.world.run_unless(|| lock(&self.director).is_dead()).await;
        report.map(|report| serde_json::to_value(report).unwrap())
    }

    async fn seen(&mut self) -> Seen {
        let subscription = self.world.topic.subscription(SUBSCRIPTION).unwrap();
        let at = subscription.mark_delete;
        let object = |key: String| (key.clone(), messages_of(&self.world.bucket.read(&key).unwrap()));
        Seen {
            objects: self.world.objects().into_iter().map(object).collect(),
            mark_delete: (at.ledger, at.entry),
            backlog: subscription.backlog as u64,
        }
    }

    async fn go_back(&mut self, (ledger, entry): Place) {
        self.world.topic.set_mark_delete(SUBSCRIPTION, Position::new(ledger, entry - 1));
    }
}

/// Each cell in a world of its own, many at a time.
fn act_all(cells: &[Cell]) -> Vec<Line> {
    runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let template = template().await;
        let one = async |cell: &Cell| {
            let mut stage = Stage::new(&template, *cell).await;
            let (director, sent) = (Arc::clone(&stage.director), stage.sent());
            act(*cell, &director, &mut stage, &sent).await
        };
        futures::stream::iter(cells).map(one).buffered(AT_ONCE).collect().await
    })
}

/// Acts these cells, half of them on each of two threads, and prints them.
fn matrix(cells: &[Cell]) {
    let (one, other) = cells.split_at(cells.len() / 2);
    let lines = thread::scope(|scope| {
        let one = scope.spawn(|| act_all(one));
        let mut lines = act_all(other);
        lines.splice(0..0, one.join().unwrap());
        lines
    });
    for line in &lines {
        println!("in process: {line}");
    }
    let (total, right) = total(&lines);
    println!("in process: {total}");
    assert!(right, "{total}; the lines above say what is wrong");
}

#[test]
fn at_every_step_with_any_two_faults_and_every_rewind_each_message_is_stored_once_and_each_report_is_true() {
    matrix(&cells::few());
}

#[test]
#[ignore = "a minute: make crash-matrix"]
fn every_cell_of_the_crash_matrix_is_right() {
    let cells = cells::all();
    assert_eq!(cells.len(), STEPS.len() * MOMENTS.len() * 3 * 3 * 3 * 3);
    matrix(&cells);
}

#[test]
fn in_the_short_matrix_each_two_values_meet_at_each_moment_of_each_step() {
    let values = |cell: &Cell| {
        let Cell { store, ack, head, back, .. } = cell;
        [format!("{store:?}"), format!("{ack:?}"), format!("{head:?}"), format!("{back}")]
    };
    let few = cells::few();
    for cell in cells::all() {
        let here: Vec<&Cell> = few.iter().filter(|it| (it.step, it.moment) == (cell.step, cell.moment)).collect();
        for (one, other) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
            let both = |it: &[String; 4]| [it[one].clone(), it[other].clone()];
            assert!(here.iter().any(|it| both(&values(it)) == both(&values(&cell))), "{cell}: {one} and {other}");
        }
    }
}
