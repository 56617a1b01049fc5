//! One host after the other: who is asked, for how long, and what is said in the end.

use std::cell::RefCell;
use std::future::pending;

use super::*;
use crate::Clock;

fn rule(name: &str, hosts: &str) -> Rule {
    let text = format!(
        "name = {name:?}\nservice_url = \"pulsar://{hosts}\"\ntopic = \"persistent://t/n/x\"\nsubscription = \"s\"\n\
         bucket = \"orders-1250000000\"\nregion = \"ap-guangzhou\"\ninterval = \"5m\""
    );
    Rule::from_toml(&text).unwrap()
}

/// Asks a cluster of these hosts; `answer` is what each of them does. Who was asked, and what came of it.
async fn asked(cluster: &Cluster<'_>, answer: impl AsyncFn(&str) -> Result<u32>) -> (Vec<String>, Result<u32>) {
    let asked = RefCell::<Vec<String>>::default();
    let result = cluster.ask(async |door| {
        asked.borrow_mut().push(door.host.clone());
        answer(&door.host).await
    });
    let result = result.await;
    (asked.into_inner(), result)
}

fn in_an_hour() -> Instant {
    Clock::starting_at(0).now() + Duration::from_secs(3600)
}

#[test]
fn several_hosts_together_have_the_time_of_one() {
    for (hosts, seconds) in [(1, 20), (2, 10), (4, 5), (5, 4), (50, 4)] {
        assert_eq!(share(hosts), Duration::from_secs(seconds), "{hosts}");
    }
}

/// No time is left for anybody, so nobody's silence is waited out.
#[tokio::test]
async fn a_silent_host_is_given_up_and_asked_last_from_then_on() {
    let rule = rule("r", "a,b,c,d");
    let cluster = Cluster::new(&rule, Clock::starting_at(0).now());
    let first = cluster.doors[cluster.answering.load(Relaxed)].host.clone();
    let but_first = async |host: &str| if host == first { pending().await } else { Ok(1) };
    let (hosts, answer) = asked(&cluster, but_first).await;
    assert_eq!((hosts.len(), answer.unwrap()), (2, 1));
    let (again, answer) = asked(&cluster, async |_| Ok(2)).await;
    assert_eq!((again.as_slice(), answer.unwrap()), (&hosts[1..], 2));
    let (_, answer) = asked(&cluster, async |_| pending().await).await;
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(
        ["a", "b", "c", "d"].iter().all(|host| error.chain().contains(&format!("{host}:6650"))),
        "{}",
        error.chain()
    );
}

#[tokio::test]
async fn an_answer_that_every_host_would_give_is_not_asked_for_again() {
    let rule = rule("r", "a,b");
    let cluster = Cluster::new(&rule, in_an_hour());
    for (kind, expected) in [(Kind::Denied, 1), (Kind::NotFound, 1), (Kind::Unavailable, 2), (Kind::Invalid, 2)] {
        let (hosts, answer) = asked(&cluster, async |_| Err(Error::new(kind, "no"))).await;
        assert_eq!((hosts.len(), answer.unwrap_err().kind()), (expected, kind));
    }
    let differing =
        async |host: &str| Err(Error::new(if host == "a" { Kind::Invalid } else { Kind::Unavailable }, "no"));
    assert_eq!(asked(&cluster, differing).await.1.unwrap_err().kind(), Kind::Unavailable);
}

#[tokio::test]
async fn rules_begin_at_different_hosts_and_each_always_at_the_same_one() {
    let first = |name: &str| {
        let rule = rule(name, "a,b,c");
        Cluster::new(&rule, in_an_hour()).answering.load(Relaxed)
    };
    let names: Vec<String> = (0..30).map(|n| format!("orders-{n}")).collect();
    let begun: Vec<usize> = names.iter().map(|name| first(name)).collect();
    assert_eq!(begun, names.iter().map(|name| first(name)).collect::<Vec<_>>());
    assert!((0..3).all(|host| begun.contains(&host)), "{begun:?}");
}
