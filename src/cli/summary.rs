//! A report for a reader, or for a program.

use anyhow::{Context, Result};
use chrono::{DateTime, SecondsFormat, Utc};
use tdmq_backup::Position;
use tdmq_backup::error::visible;
use tdmq_backup::report::{Because, Outcome, PartitionReport, Report, Stop};

/// One line of JSON on standard output.
pub fn json(report: &Report) -> Result<()> {
    let text = serde_json::to_string(report).context("the report does not become JSON")?;
    println!("{text}");
    Ok(())
}

/// A few lines on standard output; what went wrong on standard error.
pub fn text(report: &Report) {
    let objects = report.objects.len() as u64 + report.more_objects;
    match report.outcome {
        Outcome::NothingToDo if report.stop == Some(Stop::Drained) => {
            println!("nothing to do: the subscription owes nothing");
        }
        Outcome::NothingToDo => println!("nothing was read; run again"),
        Outcome::Planned => println!(
            "dry run, nothing was changed: {} messages would be stored in {objects} object(s), {}",
            report.messages,
            size(report.bytes)
        ),
        Outcome::Stored => {
            println!("stored {} messages in {objects} object(s), {}", report.messages, size(report.bytes))
        }
        Outcome::Busy => println!("busy: left to the run that is at it"),
        Outcome::Unknown => println!("unknown: a write was not answered; the next run finds out"),
        Outcome::Failed | Outcome::NotRead => println!("failed"),
    }
    if !report.partitions.is_empty() {
        println!("  {}", partitions(&report.partitions));
    }
    if let Some(moved) = &report.moved {
        let shown = |at: Option<Position>| at.map_or("an unknown position".to_owned(), |at| at.to_string());
        println!("  moved to {} as asked: from {} to {}", visible(&moved.asked), shown(moved.from), shown(moved.to));
    }
    if let Some(passed) = &report.passed_over {
        println!("  passed over {} to {}: what of it was not stored before will not be", passed.from, passed.to);
    }
    if report.more_objects > 0 {
        println!("  {} objects before these", report.more_objects);
    }
    for object in &report.objects {
        println!("  {}  {} messages, {}", object.key, object.messages, size(object.bytes));
    }
    if report.skipped_entries > 0 {
        println!("  {} entries came again that were stored before: skipped", report.skipped_entries);
    }
    if let Some(at) = report.complete_through.and_then(instant) {
        println!("  complete through {at}");
    }
    if let Some(left) = report.backlog_entries.filter(|left| *left > 0) {
        println!("  {left} entries left in the topic");
    }
    for gap in &report.missing {
        let of = gap.partition.map(|partition| format!(" of partition {partition}")).unwrap_or_default();
        match gap.because {
            Because::CursorMoved => {
                println!("  MISSING: {} to {}{of}: expired, evicted or skipped", gap.first, gap.last)
            }
            Because::NotDelivered => println!("  the broker left out {} to {}{of}", gap.first, gap.last),
        }
    }
    if let Some(advice) = report.pace.as_ref().and_then(|pace| pace.advice.as_ref()) {
        println!("  {advice}");
    }
    for warning in &report.warnings {
        eprintln!("warning: {}", visible(warning));
    }
    if let Some(error) = &report.error {
        eprintln!("tdmq-backup: {}", error.message);
    }
}

/// How many partitions came to what.
fn partitions(all: &[PartitionReport]) -> String {
    let count = |outcome| all.iter().filter(|one| one.outcome == outcome).count();
    let words = [
        (Outcome::Planned, "planned"),
        (Outcome::Stored, "stored"),
        (Outcome::NothingToDo, "with nothing to do"),
        (Outcome::Busy, "busy"),
        (Outcome::Unknown, "unknown"),
        (Outcome::Failed, "failed"),
        (Outcome::NotRead, "not read"),
    ];
    let parts: Vec<String> = words
        .into_iter()
        .map(|(outcome, word)| (count(outcome), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    format!("{} partitions: {}", all.len(), parts.join(", "))
}

/// An instant as RFC 3339, UTC.
pub fn instant(ms: u64) -> Option<String> {
    let at = DateTime::<Utc>::from_timestamp_millis(i64::try_from(ms).ok()?)?;
    Some(at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// Bytes for a reader: powers of 1024, as the rule counts.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KB", "MB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} GB")
}
