//! What takes too long to be waited for in a process, how old an instance gets; and answers that are none.

#[path = "../../tests/simulate/dice.rs"]
#[allow(dead_code, reason = "the simulation uses all of it")]
mod dice;
#[path = "../../tests/fuzz/mutate.rs"]
#[allow(dead_code, reason = "the fuzz test uses all of it")]
mod mutate;

use std::cell::{Cell, RefCell};

use serde_json::json;
use tdmq_backup::testing::{Http, Step};

use super::*;

fn answers(count: usize) -> Vec<Vec<Step>> {
    let text = "HTTP/1.1 200 OK\r\nrequest_id: 1\r\nContent-Length: 2\r\n\r\n{}";
    vec![vec![Step::send(text), Step::Close]; count]
}

async fn events_served(old_at: Instant, last: bool) -> (usize, Option<Ended>) {
    // Ready, then an event and its answer as often as they are asked for.
    let api = Http::start(answers(1 + 2 * 3)).await.unwrap();
    let served = Cell::new(0);
    let run = async |_: &Value, _: &str, _| {
        served.set(served.get() + 1);
        Answer { outcome: Ok(json!({})), last }
    };
    // After its scripts the API is gone.
    let ended = serve(&api.address().to_string(), old_at, None, run).await.ok();
    (served.get(), ended)
}

#[tokio::test]
async fn an_instance_ends_after_its_reply_when_it_is_an_hour_old_or_has_to() {
    let now = Clock::system().now();
    assert_eq!(events_served(now, false).await, (1, Some(Ended::Old)));
    assert_eq!(events_served(now + OLD_AFTER, true).await, (1, Some(Ended::Over)));
    assert_eq!(events_served(now + OLD_AFTER, false).await, (3, None));
}

#[tokio::test]
async fn an_event_without_a_time_limit_ends_with_the_timeout_that_is_deployed() {
    let clock = Clock::system();
    for (header, unsaid, expected) in [
        ("", Some(285_000), Some(285_000)),
        ("time_limit_in_ms: soon\r\n", Some(285_000), Some(285_000)),
        ("time_limit_in_ms: 60000\r\n", Some(285_000), Some(60_000)),
        ("", None, None),
    ] {
        let text = format!("HTTP/1.1 200 OK\r\n{header}Content-Length: 2\r\n\r\n{{}}");
        let api = Http::start(vec![vec![Step::send(text), Step::Close]; 3]).await.unwrap();
        let seen = Cell::new(None);
        let run = async |_: &Value, _: &str, deadline| {
            seen.set(Some(deadline));
            Answer { outcome: Ok(json!({})), last: true }
        };
        let before = clock.now_ms();
        serve(&api.address().to_string(), clock.now() + OLD_AFTER, unsaid.map(Duration::from_millis), run)
            .await
            .unwrap();
        // Its clock is another one, and both show whole milliseconds.
        let range = expected.map_or(0..=0, |limit| before + limit - 1..=clock.now_ms() + limit + 1);
        assert!(range.contains(&seen.get().unwrap()), "{header:?}, {unsaid:?}: {seen:?} is not in {range:?}");
    }
}

#[test]
fn the_runtime_api_is_where_the_variables_say() {
    let at = |set: &[(&str, &str)]| {
        address(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string()))
    };
    assert_eq!(at(&[]).unwrap(), None);
    assert_eq!(at(&[("SCF_RUNTIME_API", "127.0.0.1")]).unwrap().unwrap(), "127.0.0.1:9001");
    let both = [("SCF_RUNTIME_API", "10.0.0.1"), ("SCF_RUNTIME_API_PORT", "9002")];
    assert_eq!(at(&both).unwrap().unwrap(), "10.0.0.1:9002");
    assert!(at(&[("SCF_RUNTIME_API", "127.0.0.1"), ("SCF_RUNTIME_API_PORT", "http")]).is_err());
}

/// The runtime API is the platform's, and what answers at its address may be something else.
#[tokio::test]
async fn no_answer_of_the_runtime_api_makes_a_panic_or_more_of_an_invocation_than_its_bounds() {
    thread_local!(static ANSWER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
    let http = Http::start_then(Vec::new(), |_| vec![Step::Send(ANSWER.with_borrow(Vec::clone)), Step::Close]);
    let http = http.await.unwrap();
    let api = Api::new(&http.address().to_string());
    let answer = |headers: &str, body: &str| {
        format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let corpus = [
        answer("request_id: 0a1b\r\ntime_limit_in_ms: 285000\r\nmemory_limit_in_mb: 128\r\n", "{\"Type\":\"Timer\"}"),
        answer("Request_Id: x\r\ntime_limit_in_ms: -1\r\n", ""),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_vec(),
        b"HTTP/1.1 500 Oops\r\n\r\n".to_vec(),
    ];
    let mut taken = 0;
    for number in 0..2000 {
        ANSWER.set(mutate::mutated(&mut dice::Dice::new(number), &corpus));
        let Ok(invocation) = api.next().await else { continue };
        taken += 1;
        let ok = invocation.request.chars().count() <= 200
            && !invocation.request.chars().any(char::is_control)
            && invocation.time_limit.is_none_or(|limit| limit > 0)
            && invocation.body.len() <= 8 << 20;
        assert!(ok, "input {number}: {:?} {:?}", invocation.request, invocation.time_limit);
    }
    assert!(taken > 200, "{taken}");
}
