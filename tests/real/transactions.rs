//! Transactions: what of them a consumer gets, and when. On a broker of its own, since they need a coordinator.
//!
//! The broker delivers nothing from the first message of the oldest open transaction on, whoever sent it, and calls the entry
//! before that its last one (`TopicTransactionBuffer.maxReadPosition`). So what becomes readable later has higher ids than
//! anything that was acknowledged. Messages of aborted ones, and the markers that end them all, are never delivered.

use serde_json::Value;

use crate::broker::{administer, path_of};
use crate::harness::{SUBSCRIPTION, Stage, entry_of};
use crate::messages::is_stored;
use crate::records::{are_those, has_known_members};
use crate::second::Second;
use crate::{replay, table};

const SETTINGS: &str = "transactionCoordinatorEnabled=true systemTopicEnabled=true";

#[test]
fn of_transactions_what_is_committed_is_stored_once_in_the_order_of_the_log() {
    let broker = Second::start("transactions-broker", &[("REAL_BROKER_SETTINGS", SETTINGS)]);
    ended_ones(&subscribed(&broker, "transactions-ended"));
    noted("transactions: committed and aborted");
    an_open_one(&subscribed(&broker, "transactions-open"));
    noted("transactions: open, then committed");
}

#[test]
fn no_instant_is_claimed_to_be_complete_while_a_transaction_is_open() {
    let broker = Second::start("open-transaction-broker", &[("REAL_BROKER_SETTINGS", SETTINGS)]);
    let stage = subscribed(&broker, "transactions-claim");
    send(&stage, "- a - -");
    for outcome in ["stored", "nothing_to_do"] {
        let run = stage.invoke();
        assert_eq!((run.code, run.outcome()), (Some(0), outcome), "{run:?}");
        assert_eq!(stage.standing().backlog, Some(3));
        assert_eq!(run.report["backlog_entries"], 3, "{run:?}");
        assert_eq!(run.report["complete_through"], Value::Null, "{run:?}");
    }
    send(&stage, "!a");
    let run = stage.invoke();
    assert_eq!((run.outcome(), &run.report["messages"]), ("stored", &2.into()), "{run:?}");
    assert!(run.report["complete_through"].is_u64(), "{run:?}");
}

/// A stage whose subscription is there before the first message: what nobody has subscribed to may go with its ledger.
fn subscribed(broker: &Second, name: &str) -> Stage {
    let stage = broker.stage(name);
    let (at, topic) = (stage.broker(), format!("/admin/v2/{}", path_of(&stage.topic)));
    assert_eq!(administer(&at.http, &at.token, "PUT", &topic, ""), 204);
    let subscription = format!("{topic}/subscription/{SUBSCRIPTION}");
    assert_eq!(administer(&at.http, &at.token, "PUT", &subscription, "\"earliest\""), 204);
    stage
}

/// See `java/Transactions.java` for the words.
fn send(stage: &Stage, words: &str) -> Vec<Value> {
    stage.produce("java", "transactions", &["--transactions", words])
}

fn ended_ones(stage: &Stage) {
    let sent = send(stage, "- a b a - !a b c +b !c -");
    let committed: Vec<Value> =
        sent.into_iter().filter(|line| ["-", "b"].iter().any(|it| line["transaction"] == *it)).collect();
    let seen = stage.dump();
    is_stored(stage, &committed, &seen);
    let object = &stage.objects()[0];
    for (record, sent) in object.records.iter().zip(&committed) {
        let inside = sent["transaction"] == "b";
        for name in ["txnid_most_bits", "txnid_least_bits"] {
            assert_eq!(record[name].is_u64(), inside, "{record}");
        }
    }
    replay::agrees(stage, &seen[seen.len() - 1]["id"]);
}

fn an_open_one(stage: &Stage) {
    let mut sent = send(stage, "- a - a");
    assert_eq!(stage.dump().len(), 1, "the Java reader waits too");
    let run = stage.invoke();
    assert_eq!((run.code, run.outcome(), &run.report["messages"]), (Some(0), "stored", &1.into()), "{run:?}");
    assert_eq!(stage.standing().mark_delete, Some(entry_of(&sent[0]["id"])), "what waits is not acknowledged");
    let before = stage.files();
    assert_eq!(stage.invoke().outcome(), "nothing_to_do");
    assert_eq!(stage.files(), before);

    sent.extend(send(stage, "+a -"));
    let seen = stage.dump();
    let run = stage.invoke();
    assert_eq!((run.code, run.outcome()), (Some(0), "stored"), "{run:?}");
    let objects = stage.objects();
    assert_eq!(objects.len(), 2);
    let records: Vec<Value> = objects.into_iter().flat_map(|object| object.records).collect();
    records.iter().for_each(has_known_members);
    are_those(&records, &sent, &seen);
    stage.is_at_rest(&sent[sent.len() - 1]["id"]);
}

fn noted(case: &str) {
    table::expected(case, "java");
    table::note(case, "java", "ok");
    for client in ["python", "go"] {
        table::note(case, client, "not made: what the broker does with them is the same for every client");
    }
    match case.contains("open") {
        true => {
            table::note(case, "embedded", "not made: it has no transactions, and plays what was delivered in one go")
        }
        false => table::embedded(case, "java"),
    }
}
