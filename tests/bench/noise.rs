//! What nothing compresses: the largest object there is, in parts, beside a plain PUT of the same bytes to the same
//! server.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::Case;
use crate::child::Task;
use crate::cost::{Cost, median};
use crate::world::{Server, World};

/// In base64 more than one object holds: it ends at 500 MB.
const NOISE: Case =
    Case { name: "5,000 × 100 KB of noise", slug: "noise", messages: 5_000, size: 100_000, noise: true };
/// The object is at least this long.
const BYTES: u64 = 500_000_000;

/// Of one server.
pub struct Parts {
    pub server: Server,
    pub bytes: u64,
    pub run: Cost,
    /// The head and the upload in parts, of the run.
    pub storing: Duration,
    pub put: Duration,
}

#[derive(Default)]
struct Taken {
    runs: Vec<Cost>,
    storing: Vec<Duration>,
    puts: Vec<Duration>,
}

/// Runs and PUTs take turns, and what each leaves is removed: the machine's disk is the same for all of them.
pub fn measure(repeat: usize) -> Result<Vec<Parts>> {
    let worlds = [World::new(Server::Versitygw, "noise")?, World::new(Server::MinIo, "noise")?];
    let file = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let file = file.path().join("plain");
    worlds[0].produce(&NOISE)?;
    let mut bytes = 0;
    let mut measured = [Taken::default(), Taken::default()];
    for turn in 0..repeat {
        for (world, taken) in worlds.iter().zip(&mut measured) {
            let rule = world.rule(&NOISE, &format!("{}-{turn}", world.server.name()))?;
            let run = world.start(Task::Run, &rule)?;
            let key = run.key.as_deref().context("the run stored no object")?;
            if !file.exists() {
                // The first server keeps objects as files.
                std::fs::rename(world.object(key), &file)?;
                bytes = run.written;
            }
            ensure!(run.written == bytes && bytes >= BYTES, "not the same long object: {run:?}");
            world.empty()?;
            let put = world.put(&file)?;
            world.empty()?;
            taken.runs.push(run.cost);
            taken.storing.push(run.storing);
            taken.puts.push(put);
        }
    }
    let parts = |(world, taken): (&World, Taken)| Parts {
        server: world.server,
        bytes,
        run: Cost::typical(&taken.runs),
        storing: median(taken.storing),
        put: median(taken.puts),
    };
    Ok(worlds.iter().zip(measured).map(parts).collect())
}
