//! Facts of the store, each from a few small objects below `{prefix}_smoke/`, which are removed again.

use std::env::temp_dir;

use tdmq_backup::encode::spool::{Body, Spool};
use tdmq_backup::store::{Expect, PROBES, S3, Store, Upload};
use tdmq_backup::{Error, Kind, Result, Rule};

use super::{Fact, Verdict};

/// `now_ms` makes the names new ones.
pub async fn ask(store: &S3, rule: &Rule, now_ms: u64) -> Vec<Fact> {
    let key = |name: &str| format!("{}{PROBES}{now_ms}-{name}", rule.prefix);
    let (head, object) = (key("head"), key("object"));
    let mut facts = conditions(store, &head).await;
    facts.extend(headers(store, rule, &object).await);
    for key in [head, object] {
        if let Err(error) = store.remove_probe(&key).await {
            eprintln!("warning: remove {key} yourself: {}", error.chain());
        }
    }
    facts
}

/// What a write that should be refused shows.
fn refused<T>(written: Result<T>, store: &S3) -> (Verdict, String) {
    match written {
        Ok(_) => (Verdict::False, "the store wrote all the same".to_owned()),
        Err(_) if !store.knows_conditions() => {
            (Verdict::False, "the store calls it unknown; a look stands in for it".to_owned())
        }
        Err(error) if error.kind() == Kind::Conflict => (Verdict::True, "the second write was refused".to_owned()),
        Err(error) => (Verdict::NotSeen, error.chain()),
    }
}

async fn conditions(store: &S3, key: &str) -> Vec<Fact> {
    let write = async |text: &str, expect: Expect<'_>| store.write_small(key, text.as_bytes().to_vec(), expect).await;
    let (create, replace) =
        ("store: If-None-Match: * writes only what is not there", "store: If-Match writes only over what was read");
    let first = match write("first", Expect::Absent).await {
        Ok(version) => version,
        Err(error) => return [create, replace].map(|what| Fact::new(what, Verdict::NotSeen, error.chain())).into(),
    };
    let (verdict, seen) = refused(write("second", Expect::Absent).await, store);
    let created = Fact::new(create, verdict, seen);
    // What stands there now is known only where the second write was refused.
    let (verdict, seen) = match verdict {
        Verdict::True => match write("third", Expect::Unchanged(&first)).await {
            Ok(_) => refused(write("fourth", Expect::Unchanged(&first)).await, store),
            Err(error) if error.kind() == Kind::Conflict || !store.knows_conditions() => {
                (Verdict::False, error.chain())
            }
            Err(error) => (Verdict::NotSeen, error.chain()),
        },
        _ => (Verdict::NotSeen, "not asked".to_owned()),
    };
    vec![created, Fact::new(replace, verdict, seen)]
}

async fn headers(store: &S3, rule: &Rule, key: &str) -> Vec<Fact> {
    let what = [
        "store: a body whose signature does not cover it (UNSIGNED-PAYLOAD) is taken",
        "store: x-amz-meta-… headers are kept",
        "store: the storage class of a header is taken",
    ];
    let all = |seen: String| what.map(|what| Fact::new(what, Verdict::NotSeen, seen.clone())).into();
    let body = match body() {
        Ok(body) => body,
        Err(error) => return all(error.chain()),
    };
    let metadata = [("probe".to_owned(), "as sent".to_owned())];
    let upload = Upload { key, content_type: "text/plain", content_encoding: None, metadata: &metadata, body: &body };
    if let Err(error) = store.put(&upload, None).await {
        // Which of the three it is that the store does not take, its words say.
        return all(error.chain());
    }
    let kept = match store.look(key).await {
        Ok(Some(held)) => {
            let seen = format!("{:?}", held.metadata.get("probe"));
            Fact::new(what[1], held.metadata.get("probe") == Some(&metadata[0].1), seen)
        }
        Ok(None) => Fact::new(what[1], false, "it is not there"),
        Err(error) => Fact::new(what[1], Verdict::NotSeen, error.chain()),
    };
    let class = match (&rule.storage_class, store.class_of(key).await) {
        (None, _) => Fact::new(what[2], Verdict::NotSeen, "the rule names none"),
        (Some(_), Err(error)) => Fact::new(what[2], Verdict::NotSeen, error.chain()),
        (Some(asked), Ok(found)) => {
            let found = found.unwrap_or_else(|| "STANDARD".to_owned());
            Fact::new(what[2], found == *asked, format!("asked for {asked}, found {found}"))
        }
    };
    vec![Fact::new(what[0], true, "it was stored"), kept, class]
}

fn body() -> Result<Body> {
    let mut spool = Spool::new(&temp_dir(), 64);
    spool
        .append(b"a probe of tdmq-backup")
        .map_err(|error| Error::new(Kind::Internal, "a probe does not fit into memory: report it").because(error))?;
    Ok(spool.finish(&[]))
}
