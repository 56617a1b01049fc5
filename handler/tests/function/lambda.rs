//! Under Lambda's runtime API, for what the real emulator does not do.

use std::sync::mpsc;
use std::thread;

use serde_json::Value;
use tdmq_backup::testing::{Http, Step};
use tokio::sync::oneshot;

use crate::world::World;

/// Answers the runtime's calls in order, and then says nothing more; what was posted for the event.
fn posted(world: &World, deadline: &str, event: &str) -> (String, Value) {
    let next = format!(
        "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: request-1\r\nLambda-Runtime-Deadline-Ms: {deadline}\r\n\
         Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-west-1:123456789012:function:orders\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{event}",
        event.len()
    );
    let accepted = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
    let scripts = vec![vec![Step::send(next)], vec![Step::send(accepted)], vec![Step::Hang]];
    let (ours, theirs) = mpsc::channel();
    let (_alive, over) = oneshot::channel::<()>();
    let (done, seen) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let api = Http::start(scripts).await.unwrap();
            ours.send(api.address()).unwrap();
            let asked_again = async {
                while api.seen().len() < 3 {
                    tokio::task::yield_now().await;
                }
                done.send(api.seen()).unwrap();
            };
            tokio::select! { _ = over => {}, _ = asked_again => {} }
        });
    });
    let variables = [
        ("AWS_LAMBDA_RUNTIME_API", theirs.recv().unwrap().to_string()),
        ("AWS_LAMBDA_FUNCTION_NAME", "orders".into()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128".into()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".into()),
    ];
    let _instance = world.start(&variables);
    let post = seen.recv_timeout(std::time::Duration::from_secs(120)).unwrap().remove(1);
    let path = post.head.split_whitespace().nth(1).unwrap().to_owned();
    (path, serde_json::from_slice(&post.body).unwrap())
}

#[test]
fn a_deadline_of_1970_as_cargo_lambda_watch_sends_it_is_no_deadline() {
    let mut world = World::new();
    world.send(2);
    let (path, reply) = posted(&world, "600000", "{}");
    assert!(path.ends_with("/invocation/request-1/response"), "{path}");
    assert_eq!((&reply["outcome"], &reply["messages"]), (&"stored".into(), &2.into()), "{reply}");
}

#[test]
fn an_error_has_its_kind_as_type_and_the_whole_chain_once() {
    let world = World::new();
    world.broker.set_token("another");
    let (path, reply) = posted(&world, "4102444800000", "{}");
    assert!(path.ends_with("/invocation/request-1/error"), "{path}");
    assert_eq!(reply["errorType"], "denied", "{reply}");
    let message = reply["errorMessage"].as_str().unwrap();
    assert_eq!(message.matches("the broker says").count(), 1, "{message}");
}
