//! AWS Lambda: the runtime's loop around the shell.

use lambda_runtime::{Diagnostic, LambdaEvent, run, service_fn};
use serde_json::Value;

use crate::shell::{Failed, Shell};

impl From<Failed> for Diagnostic {
    fn from(failed: Failed) -> Self {
        Diagnostic { error_type: failed.kind.to_owned(), error_message: failed.message }
    }
}

/// Serves invocations until the platform ends the instance.
pub async fn serve(shell: Shell) -> Result<(), lambda_runtime::Error> {
    let shell = &shell;
    let invoke = async |event: LambdaEvent<Value>| {
        shell.invoke(&event.payload, &event.context.request_id, event.context.deadline).await.outcome
    };
    run(service_fn(invoke)).await
}
