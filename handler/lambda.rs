//! AWS Lambda: the runtime's loop around the shell.

use std::ffi::OsStr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use lambda_runtime::tower::{ServiceExt, layer::layer_fn};
use lambda_runtime::{Diagnostic, LambdaEvent, LambdaInvocation, Runtime, service_fn};
use serde_json::Value;
use tdmq_backup::{Error, Kind};

use crate::shell::{Failed, Shell};

impl From<Failed> for Diagnostic {
    fn from(failed: Failed) -> Self {
        Diagnostic { error_type: failed.kind.to_owned(), error_message: failed.message }
    }
}

/// That the runtime's API is somewhere: the runtime itself panics where it is not.
pub fn check(address: &OsStr) -> Result<(), Error> {
    let uri = address.to_str().and_then(|text| text.parse::<hyper::Uri>().ok());
    match uri.is_some_and(|uri| uri.authority().is_some()) {
        true => Ok(()),
        false => {
            let text = format!("AWS_LAMBDA_RUNTIME_API names no address, which is <host>:<port>: {address:?}");
            Err(Error::new(Kind::Invalid, text))
        }
    }
}

/// Serves invocations until the platform ends the instance, or `Ok` once this one is over.
pub async fn serve(shell: Shell) -> Result<(), lambda_runtime::Error> {
    let (shell, over) = (&shell, &AtomicBool::new(false));
    let invoke = async |event: LambdaEvent<Value>| {
        let answer = shell.invoke(&event.payload, &event.context.request_id, event.context.deadline).await;
        over.store(answer.last, Relaxed);
        answer.outcome
    };
    // Around the runtime's own service, which has sent the reply when it is done.
    let ends = layer_fn(|replying| {
        ServiceExt::<LambdaInvocation>::and_then(replying, async |()| match over.load(Relaxed) {
            true => Err(lambda_runtime::Error::from("the instance is over")),
            false => Ok(()),
        })
    });
    match Runtime::new(service_fn(invoke)).layer(ends).run().await {
        Err(_) if over.load(Relaxed) => Ok(()),
        ended => ended,
    }
}
