//! What a run costs, beside what no backup can do without: reading the topic, and compressing it.
//!
//! ```text
//!  main ─ produce ─▶ topic ─┬─▶ child: null drain   the same consumer; everything decoded and dropped
//!                           ├─▶ child: run          the program itself, broker to bucket
//!                           └─▶ child: compressor   the records of the object just stored
//! ```
//!
//! Every figure is that of a process of its own: this program starts itself again for each. README.md
//! says how to start it and how to read what it prints.

mod child;
mod cost;
mod noise;
mod table;
mod world;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use child::Task;
use cost::Cost;
use table::{Row, What};
use world::{Server, World};

/// What lies in a topic.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    /// A part of the names of its topic and its rules.
    pub slug: &'static str,
    pub messages: u64,
    /// Bytes of one payload.
    pub size: u64,
    /// Bytes that nothing compresses, and no compressor.
    pub noise: bool,
}

impl Case {
    pub fn bytes(&self) -> u64 {
        self.messages * self.size
    }
}

const LARGE: Case = Case { name: "5,000 × 100 KB", slug: "large", messages: 5_000, size: 100_000, noise: false };
const SMALL: Case = Case { name: "5,000 × 1 KB", slug: "small", messages: 5_000, size: 1_000, noise: false };
/// The topic of [`LARGE`] again, when all of it is backed up.
const EMPTY: Case = Case { name: "nothing new", slug: "large", messages: 0, size: 0, noise: false };

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("--child") => {
            let (task, path) = (arguments.next(), arguments.next());
            let task = task.as_deref().and_then(Task::named).context("--child takes a task and a path")?;
            child::run(task, Path::new(&path.context("--child takes a task and a path")?))?;
            Ok(ExitCode::SUCCESS)
        }
        Some("--bench") => measure(),
        _ => {
            println!("this measures, and only when `cargo bench` starts it");
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn measure() -> Result<ExitCode> {
    let repeat = match std::env::var("BENCH_REPEAT") {
        Ok(text) => text.parse().ok().filter(|count| *count > 0).context("BENCH_REPEAT: must be a number from 1 on")?,
        Err(_) => 3,
    };
    let world = World::new(Server::Versitygw, "bench")?;
    println!("{}", table::machine(repeat));
    let mut rows = Vec::new();
    for case in [LARGE, SMALL] {
        rows.extend(measure_case(&world, &case, repeat)?);
    }
    let parts = noise::measure(repeat)?;
    print!("{}{}", table::table(&rows), table::parts(&parts));
    let (text, met) = table::targets(&rows, &parts, &LARGE);
    print!("\n{text}");
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All that is measured on one topic. The three things take turns, so that what disturbs the machine
/// for a while disturbs all of them.
fn measure_case(world: &World, case: &Case, repeat: usize) -> Result<Vec<Row>> {
    world.produce(case)?;
    let [mut drains, mut runs, mut compressions, mut empty_drains, mut empty_runs] = [const { Vec::new() }; 5];
    for turn in 0..repeat {
        let drain = world.start(Task::Drain, &world.rule(case, &format!("drain-{turn}"))?)?;
        ensure!((drain.messages, drain.read) == (case.messages, case.bytes()), "the null drain missed some: {drain:?}");
        drains.push(drain.cost);

        let rule = world.rule(case, &format!("run-{turn}"))?;
        let run = world.start(Task::Run, &rule)?;
        ensure!(run.messages == case.messages, "the run missed some: {run:?}");
        runs.push(run.cost);

        let object = world.object(run.key.as_deref().context("the run stored no object")?);
        let alone = world.start(Task::Compress, &object)?;
        let same = (alone.read, alone.written) == (run.read, run.written);
        ensure!(same, "the compressor alone did something else than in the run: {alone:?}, {run:?}");
        compressions.push(alone.cost);

        if case.slug == EMPTY.slug {
            let drain = world.start(Task::Drain, &rule)?;
            let run = world.start(Task::Run, &rule)?;
            ensure!(drain.messages + run.messages == 0, "the second run was to find nothing: {run:?}");
            empty_drains.push(drain.cost);
            empty_runs.push(run.cost);
        }
    }
    let measured = [
        (*case, What::Run, runs),
        (*case, What::Drain, drains),
        (*case, What::Compressor, compressions),
        (EMPTY, What::Run, empty_runs),
        (EMPTY, What::Drain, empty_drains),
    ];
    let measured = measured.into_iter().filter(|(_, _, costs)| !costs.is_empty());
    Ok(measured.map(|(case, what, costs)| Row { case, what, cost: Cost::typical(&costs) }).collect())
}
