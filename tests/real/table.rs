//! The table of case × producing client: its cells, and what it says where a cell cannot be made.
//!
//! Each cell is a test. `make pulsar-table` runs them all and prints what each of them noted in the file of
//! `REAL_TABLE`: three words and a reason, parted by tabs. Without that variable nothing is noted.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::component;
use crate::process::{end, start};

/// In the order of the columns.
pub const CLIENTS: &[&str] = &["java", "python", "go"];

/// Each row: its case, the clients that make it, and what becomes of one message of it. A test for every cell.
macro_rules! rows {
    ($check:path: $($row:ident $case:literal: $($client:ident)+;)*) => {
        pub const ROWS: &[(&str, &[&str])] = &[$(($case, &[$(stringify!($client)),+])),*];

        $(mod $row {
            $(#[test] fn $client() { $crate::table::cell($case, stringify!($client), $check); })+
        })*
    };
}
pub(crate) use rows;

/// Why no client, or not this one, makes a case. A row that is not named here for a client has a test for it.
const NOT_MADE: &[(&str, &str, &str)] = &[
    ("python", "schema-avro", "needs fastavro, which is not installed; JSON schemas have versions too"),
    ("python", "schema-int32", "the client has no such schema"),
    ("python", "schema-keyvalue", "the client has no such schema"),
    ("python", "schema-keyvalue-separated", "the client has no such schema"),
    ("python", "chunked-interleaved", "the client cuts only at 5 MiB and waits for nothing between two parts"),
    ("python", "transactions", "the client has none"),
    ("go", "schema-avro", "as its JSON schema"),
    ("go", "schema-string", "as Java's"),
    ("go", "schema-int32", "as Java's"),
    ("go", "schema-keyvalue", "the client has no such schema"),
    ("go", "schema-keyvalue-separated", "the client has no such schema"),
    ("go", "chunked-interleaved", "as Java's"),
    ("go", "transactions", "the broker does the same for every client"),
    ("go", "nulls", "the client writes an empty payload for a null value"),
    ("go", "unicode", "as in its keys and properties"),
    ("java", "batch-zstd-faster", "the client has no such setting"),
    ("java", "batch-zstd-better", "the client has no such setting"),
    ("python", "batch-zstd-faster", "the client has no such setting"),
    ("python", "batch-zstd-better", "the client has no such setting"),
];

thread_local! {
    /// The highest peak of the runs that this test made, in bytes.
    static PEAK: Cell<u64> = const { Cell::new(0) };
}

/// Of every run that ends by itself.
pub fn ran(peak_memory_bytes: u64) {
    PEAK.set(PEAK.get().max(peak_memory_bytes));
}

/// Runs one cell, and notes that it held. `check` says in which way, and notes the embedded broker's by itself.
pub fn cell(case: &str, client: &str, check: fn(&str, &str) -> &'static str) {
    let held = check(client, case);
    let peak = PEAK.get();
    assert!(0 < peak && peak <= 64 << 20, "{} MiB at the peak", peak >> 20);
    note(case, client, held);
    note(case, "peak", &peak.to_string());
}

/// The embedded broker did the same with the entries of this client.
pub fn embedded(case: &str, client: &str) {
    note(case, &format!("{client}+embedded"), "ok");
}

/// What holds for all clients.
pub fn note(case: &str, column: &str, what: &str) {
    let Ok(path) = std::env::var("REAL_TABLE") else { return };
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    // One write: the tests run side by side.
    file.write_all(format!("{case}\t{column}\t{what}\n").as_bytes()).unwrap();
}

/// There must be such a cell.
pub fn expected(case: &str, client: &str) {
    note(case, client, "expected");
}

/// Says which cells there must be, and why there is none where there is none.
fn expect(rows: &[(&str, &[&str])], otherwise: Option<&str>) {
    for (case, clients) in rows {
        for client in CLIENTS {
            let reason = NOT_MADE.iter().find(|(of, which, _)| of == client && which == case).map(|(_, _, why)| *why);
            match (clients.contains(client), reason.or(otherwise.filter(|_| !clients.contains(client)))) {
                (true, None) => expected(case, client),
                (false, Some(why)) => note(case, client, &format!("not made: {why}")),
                (true, Some(_)) => panic!("{case} of {client} is made, and NOT_MADE says why it is not"),
                (false, None) => panic!("{case} of {client} is not made, and NOT_MADE does not say why"),
            }
        }
    }
}

#[test]
fn the_table_has_every_case_that_the_clients_know() {
    let rows: Vec<(&str, &[&str])> = crate::messages::ROWS.concat();
    expect(&rows, None);
    expect(crate::topics::a_topic_is_stored_whole_whatever_was_done_to_it::ROWS, None);
    for (case, why) in crate::topics::NOT_ACTED {
        note(case, "embedded", &format!("not made: {why}"));
    }
    for client in CLIENTS {
        let mut program = Command::new(PathBuf::from(component("REAL_BIN")).join(format!("{client}-client")));
        let known = end(start(program.args(["produce", "--case", "list"]))).successful("the list of cases");
        let mut known: Vec<&str> = known.lines().filter(|case| !["bulk", "transactions"].contains(case)).collect();
        let mut table: Vec<&str> =
            rows.iter().filter(|(_, clients)| clients.contains(client)).map(|(case, _)| *case).collect();
        table.sort();
        known.sort();
        assert_eq!(table, known, "{client}");
    }
}
