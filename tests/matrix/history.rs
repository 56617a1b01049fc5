//! One cell of the crash matrix, from the death to rest: the same history in process and on real components.
//!
//! ```text
//!  five objects stored ─▶ runs, until one dies ─▶ the cursor goes back ─▶ runs, until nothing is left to do
//!                             └─ after each: what is there, what is acknowledged, what the report says ─┘
//! ```

pub mod cells;
pub mod director;
pub mod truth;

use std::fmt;
use std::sync::{Mutex, MutexGuard};

use serde_json::Value;

use cells::{Cell, Moment, Step, StoreFault};
use director::Director;
use truth::{Message, Place, Seen, untrue};

/// Of each topic; every object takes two.
pub const ENTRIES: usize = 14;
pub const MESSAGES_PER_ENTRY: usize = 2;
pub const ENTRIES_PER_OBJECT: usize = 2;
/// Stored before the cell begins; the rule allows as many in one run.
pub const OBJECTS_BEFORE: usize = 5;
/// Each fault may end a run, and so may the death; two more for the rest, one finds nothing.
const MOST_RUNS: usize = 8;

/// A broker, a bucket and the program.
pub trait Scene {
    /// One run: its report, or none where the director let it die. Its connections are gone by then.
    async fn run(&mut self) -> Option<Value>;
    async fn seen(&mut self) -> Seen;
    /// Makes this entry the next one to be delivered.
    async fn go_back(&mut self, to: Place);
}

/// What a cell came to.
pub struct Line {
    cell: Cell,
    objects: usize,
    once: usize,
    sent: usize,
    pub lost: usize,
    pub twice: usize,
    pub false_reports: usize,
    at: Place,
    last: Place,
    outcomes: Vec<String>,
    problems: Vec<String>,
}

impl Line {
    pub fn is_right(&self) -> bool {
        self.problems.is_empty()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { cell, objects, once, sent, at, last, .. } = self;
        let reports = if self.false_reports == 0 { "reports true" } else { "REPORTS FALSE" };
        let runs = self.outcomes.join(", ");
        write!(
            f,
            "{cell}: {objects} objects, {once} of {sent} once, acknowledged {}:{} of {}:{}",
            at.0, at.1, last.0, last.1
        )?;
        write!(f, ", {reports} ({runs})")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  WRONG: {problem}"))
    }
}

/// The last line, and whether all was right.
pub fn total(lines: &[Line]) -> (String, bool) {
    let sum = |of: fn(&Line) -> usize| lines.iter().map(of).sum::<usize>();
    let (lost, twice, untrue) = (sum(|it| it.lost), sum(|it| it.twice), sum(|it| it.false_reports));
    let wrong = lines.iter().filter(|line| !line.is_right()).count();
    let end = if wrong == 0 { String::new() } else { format!("; {wrong} WRONG") };
    (format!("{} cells: {lost} lost, {twice} twice, {untrue} false reports{end}", lines.len()), wrong == 0)
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// Acts one cell on a scene that has [`OBJECTS_BEFORE`] objects, and everything that was `sent` in its topic.
pub async fn act(cell: Cell, director: &Mutex<Director>, scene: &mut impl Scene, sent: &[Message]) -> Line {
    let last = sent[sent.len() - 1].place();
    let mut line = Line {
        cell,
        objects: 0,
        once: 0,
        sent: sent.len(),
        lost: 0,
        twice: 0,
        false_reports: 0,
        at: last,
        last,
        outcomes: Vec::new(),
        problems: Vec::new(),
    };
    let mut before = scene.seen().await;
    if before.objects.len() != OBJECTS_BEFORE
        || before.mark_delete != entry(sent, OBJECTS_BEFORE * ENTRIES_PER_OBJECT - 1)
    {
        line.problems.push(format!("it does not begin with {OBJECTS_BEFORE} objects: {before:?}"));
    }
    for _ in 0..MOST_RUNS {
        lock(director).begin();
        let report = scene.run().await;
        let mut after = scene.seen().await;
        let unstored = after.acknowledged_unstored(sent);
        if unstored > 0 {
            line.problems.push(format!("{unstored} acknowledged up to {:?} and not stored", after.mark_delete));
        }
        match report {
            None => {
                line.outcomes.push("dies".into());
                line.problems.extend(acted_wrongly(&cell, &before, &after));
                after = goes_back(&cell, scene, after, sent, &mut line.problems).await;
            }
            Some(report) => {
                line.outcomes.push(report["outcome"].as_str().unwrap_or("none").to_owned());
                let untrue = untrue(&report, &lock(director), &before, &after, sent);
                line.false_reports += usize::from(!untrue.is_empty());
                line.problems
                    .extend(untrue.into_iter().map(|what| format!("run {} says: {what}", line.outcomes.len())));
                if report["outcome"] == "nothing_to_do" {
                    before = after;
                    break;
                }
            }
        }
        before = after;
    }
    line.ends(&before, sent);
    if !lock(director).is_over() {
        line.problems.push("not all of the cell happened".into());
    }
    line
}

impl Line {
    fn ends(&mut self, seen: &Seen, sent: &[Message]) {
        let times: Vec<usize> = sent.iter().map(|message| seen.times(message)).collect();
        (self.objects, self.at) = (seen.objects.len(), seen.mark_delete);
        self.once = times.iter().filter(|times| **times == 1).count();
        self.lost = times.iter().filter(|times| **times == 0).count();
        self.twice = times.iter().filter(|times| **times > 1).count();
        // Where the machine is so busy that an entry takes a second to come, an object ends before it: there may be more.
        let right = self.once == sent.len() && seen.stored() == sent.len();
        if !right
            || (self.at, seen.backlog) != (self.last, 0)
            || self.outcomes.last().is_none_or(|it| it != "nothing_to_do")
        {
            let what = format!(
                "{} lost, {} twice, {} records, a backlog of {}",
                self.lost,
                self.twice,
                seen.stored(),
                seen.backlog
            );
            self.problems.push(format!("in the end {what}"));
        }
    }
}

/// The entry of this number.
fn entry(sent: &[Message], number: usize) -> Place {
    sent[number * MESSAGES_PER_ENTRY].place()
}

/// What the death was to leave behind.
fn acted_wrongly(cell: &Cell, before: &Seen, after: &Seen) -> Option<String> {
    let came = after.objects.len() - before.objects.len();
    let moved = after.mark_delete > before.mark_delete;
    let expected = match (cell.step, cell.moment) {
        (Step::Store, Moment::After) => (usize::from(cell.store != StoreFault::Slow), false),
        (Step::Acknowledge, Moment::At) => (1, false),
        (Step::Acknowledge, Moment::After) => (1, true),
        // What the acknowledgement's fault left, or it is to come.
        (Step::Receipt, _) => return (came != 1).then(|| format!("{came} objects came before the death")),
        _ => (0, false),
    };
    ((came, moved) != expected)
        .then(|| format!("the death left (objects, moved) {:?}, not {expected:?}", (came, moved)))
}

/// The cursor moves back over as many objects as the cell says; it never stands within one.
async fn goes_back(
    cell: &Cell,
    scene: &mut impl Scene,
    after: Seen,
    sent: &[Message],
    problems: &mut Vec<String>,
) -> Seen {
    if cell.back == 0 {
        return after;
    }
    let acknowledged = (0..ENTRIES).filter(|number| entry(sent, *number) <= after.mark_delete).count();
    let next = acknowledged - cell.back * ENTRIES_PER_OBJECT;
    scene.go_back(entry(sent, next)).await;
    let seen = scene.seen().await;
    if seen.backlog != (ENTRIES - next) as u64 || seen.mark_delete >= entry(sent, next) {
        problems.push(format!("the cursor did not go back before entry {next}: {:?}", seen.mark_delete));
    }
    seen
}
