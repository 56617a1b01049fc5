//! Runs of the deployed function, one after the other, until its subscription owes nothing.

use anyhow::{Result, bail};
use serde_json::Value;

use super::cloud::{Cloud, Reply};
use super::wanted::text;

/// Runs that may store nothing one after the other, while the broker says that something is left.
const MOST_IDLE: u32 = 3;
/// Runs that may store something one after the other without less being left than ever before.
const MOST_IN_VAIN: u32 = 20;

/// Goes on as long as that leads anywhere, however many runs it takes.
///
/// Errors: what keeps it from its end, and what to do. What the runs have stored is stored.
pub fn drain(cloud: &Cloud, name: &str) -> Result<()> {
    let mut progress = Progress::default();
    loop {
        let report = match cloud.invoke(name, "{}")? {
            Reply::Report(report) => report,
            Reply::Failed(said) => bail!("a run failed: {said}"),
        };
        if progress.is_over(&report)? {
            return Ok(());
        }
    }
}

/// What the runs so far have come to.
#[derive(Debug, Default)]
struct Progress {
    idle: u32,
    in_vain: u32,
    /// Entries left, after the run after which there were the fewest.
    least: Option<u64>,
}

impl Progress {
    /// Whether nothing is left after this run.
    fn is_over(&mut self, report: &Value) -> Result<bool> {
        let outcome = text(report, "/outcome");
        let left = report["backlog_entries"].as_u64();
        match (outcome.as_str(), left) {
            ("stored" | "nothing_to_do", Some(0)) => return Ok(true),
            ("nothing_to_do", None) if report["stop"] == "drained" => return Ok(true),
            ("stored" | "nothing_to_do", _) => {}
            _ => bail!("a run ended as {outcome}: try again in a minute"),
        }
        let shown = left.map_or("an unknown number of".to_owned(), |left| left.to_string());
        println!("{outcome}: {} messages, {shown} entries left", report["messages"]);
        self.idle = if outcome == "nothing_to_do" { self.idle + 1 } else { 0 };
        // Where nobody says how much is left, nobody says that it is less.
        let less = left.filter(|left| self.least.is_none_or(|least| *left < least));
        self.in_vain = if less.is_some() { 0 } else { self.in_vain + 1 };
        self.least = less.or(self.least);
        if self.idle == MOST_IDLE {
            bail!(
                "the broker does not deliver what is left: an open transaction or a chunked message holds it back, or it is none \
                 for consumers; make delete again later, which goes on from here, or delete without draining"
            );
        }
        if self.in_vain == MOST_IN_VAIN {
            bail!(
                "{MOST_IN_VAIN} runs have stored something, and {shown} entries are left: as much comes in, or one partition is held by \
                 somebody else; stop who sends, or raise max_objects and deploy; then make delete again, which goes on from here; or \
                 delete without draining"
            );
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(left: u64) -> Value {
        json!({ "outcome": "stored", "messages": 5, "backlog_entries": left })
    }

    #[test]
    fn a_drain_goes_on_over_any_number_of_runs_as_long_as_less_is_left() {
        let mut progress = Progress::default();
        // Each second run finds that more has come in.
        for left in (1..1000).rev().flat_map(|left| [left, left + 7]) {
            assert!(!progress.is_over(&stored(left)).unwrap());
        }
        assert!(progress.is_over(&stored(0)).unwrap());
    }

    #[test]
    fn a_drain_into_which_as_much_comes_as_it_stores_ends_and_says_how_to_go_on() {
        let mut progress = Progress::default();
        let ended = (0..1000).map(|_| progress.is_over(&stored(9))).position(|over| match over {
            Ok(over) => over,
            Err(error) => {
                assert!(error.to_string().contains("9 entries are left: as much comes in"), "{error}");
                true
            }
        });
        assert_eq!(ended, Some(MOST_IN_VAIN as usize));
    }

    #[test]
    fn a_drain_of_which_nobody_says_what_is_left_ends_too() {
        let unknown = json!({ "outcome": "stored", "messages": 5 });
        for others in [unknown.clone(), stored(9)] {
            let mut progress = Progress::default();
            let mut runs = (0..1000).map(|run| if run % 2 == 0 { &unknown } else { &others });
            let ended = runs.position(|run| progress.is_over(run).is_err()).unwrap();
            assert!(ended <= MOST_IN_VAIN as usize + 2, "{ended}");
        }
    }

    #[test]
    fn a_drain_that_stores_nothing_while_something_is_left_ends_soon() {
        let idle = json!({ "outcome": "nothing_to_do", "messages": 0, "backlog_entries": 2 });
        let mut progress = Progress::default();
        assert!(!progress.is_over(&idle).unwrap() && !progress.is_over(&idle).unwrap());
        assert!(progress.is_over(&idle).unwrap_err().to_string().contains("goes on from here"));
        assert!(Progress::default().is_over(&json!({ "outcome": "busy" })).is_err());
    }
}
