//! A rule as a stack of CloudFormation, made from template.yaml: the calls that make, edit, show and remove it.
//!
//! Nothing here calls anything. The definitions of the calls are the vendor's own, in the aws tool.

use serde_json::{Value, json};
use tdmq_backup::error::visible;

use super::call::{Call, Held, Tool};
use super::wanted::{Deployed, Facts, Step, TAG, Wanted, list, raw, text};

const DESCRIPTION: &str = "made by tdmq-backup; remove with make delete";

fn call(region: &str, service: &'static str, action: &'static str, parameters: Value) -> Call {
    Call::new(Tool::Aws, service, action, region, parameters)
}

/// The name of a rule's stack: stacks have no `_`.
pub fn stack(name: &str) -> String {
    name.replace('_', "-")
}

pub fn look(region: &str, name: &str) -> Call {
    call(region, "cloudformation", "describe-stacks", json!({ "StackName": stack(name) }))
}

/// All stacks; the tool turns the pages.
pub fn all(region: &str) -> Call {
    call(region, "cloudformation", "describe-stacks", json!({}))
}

/// What `describe-stacks` answered for one stack. Whether its schedule is on is not in it.
pub fn deployed(stack: &Value) -> Deployed {
    let parameters: Facts = list(stack, "/Parameters")
        .iter()
        .map(|parameter| (text(parameter, "/ParameterKey"), raw(parameter, "/ParameterValue")))
        .collect();
    let name = parameters.get("Name").map_or_else(|| text(stack, "/StackName"), |name| visible(name));
    let state = text(stack, "/StackStatus");
    let facts = parameters
        .into_iter()
        .filter(|(key, value)| !value.is_empty() && !HIDDEN.contains(&key.as_str()))
        .map(|(key, value)| match FACTS.iter().find(|(_, parameter)| *parameter == key) {
            Some((fact, _)) => ((*fact).to_owned(), value),
            None => (key, value),
        })
        .collect();
    let ours = list(stack, "/Tags").iter().any(|tag| tag["Key"] == TAG.0 && tag["Value"] == TAG.1);
    Deployed { name, ours, facts, state, timer: true, paused: false }
}

/// Whether the stack is what a first deployment that failed left behind: CloudFormation lets it only be deleted.
pub fn was_never_made(stack: &Deployed) -> bool {
    ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"].contains(&stack.state.as_str())
}

/// Parameters that say nothing about the rule.
const HIDDEN: [&str; 5] = ["Name", "CodeBucket", "CodeKey", "StoreKeyId", "StoreKeySecret"];

/// What the facts are called in the template.
const FACTS: [(&str, &str); 13] = [
    ("topic", "Topic"),
    ("subscription", "Subscription"),
    ("shard", "Shard"),
    ("store", "Store"),
    ("bucket", "Bucket"),
    ("prefix", "Prefix"),
    ("interval", "IntervalMinutes"),
    ("memory", "MemorySize"),
    ("role", "ExecutionRole"),
    ("vpc", "VpcId"),
    ("subnet", "SubnetIds"),
    ("security_group", "SecurityGroupIds"),
    ("token_secret", "TokenSecret"),
];

/// Whether a parameter follows from the rule, the package or the environment.
pub fn is_said(parameter: &str) -> bool {
    HIDDEN.contains(&parameter) || FACTS.iter().any(|(_, known)| *known == parameter)
}

/// What the stack is to be. Where nothing is said about a parameter, it stays as `old` has it, or is the template's default.
pub fn facts(wanted: &Wanted, old: Option<&Deployed>) -> Facts {
    let (rule, deploy) = (&wanted.rule, &wanted.rule.deploy);
    let [topic, subscription, shard] = wanted.identity();
    let mut facts: Facts = old.map(|old| old.facts.clone()).unwrap_or_default();
    let said = [
        ("topic", topic),
        ("subscription", subscription),
        ("shard", shard),
        ("store", rule.endpoint.to_string()),
        ("bucket", rule.bucket.to_string()),
        ("prefix", rule.prefix.to_string()),
        ("interval", wanted.minutes.to_string()),
        ("memory", deploy.memory.unwrap_or(512).to_string()),
        ("role", deploy.execution_role.clone().unwrap_or_default()),
        ("vpc", deploy.vpc.clone().unwrap_or_default()),
        ("subnet", deploy.subnet.clone().unwrap_or_default()),
        ("security_group", deploy.security_group.clone().unwrap_or_default()),
        ("token_secret", deploy.token_secret.clone().unwrap_or_default()),
    ];
    facts.extend(said.map(|(name, value)| (name.to_owned(), value)));
    facts.extend(wanted.set.clone());
    facts.retain(|_, value| !value.is_empty());
    facts
}

/// The calls that make the stack, or make it what it is to be.
pub fn plan(wanted: &Wanted, old: Option<&Deployed>) -> Vec<Step> {
    let (region, name) = (wanted.region.as_str(), wanted.rule.name.as_str());
    let code_bucket = wanted.code_bucket.clone().unwrap_or_default();
    let package = wanted.package.display().to_string();
    let upload = json!({ "Bucket": code_bucket, "Key": wanted.package_key(), "ContentType": "application/zip" });
    let mut steps = vec![Step::Call(call(region, "s3api", "put-object", upload).with(&["--body", &package]))];

    let mut parameters = vec![
        json!({ "ParameterKey": "Name", "ParameterValue": name }),
        json!({ "ParameterKey": "CodeBucket", "ParameterValue": code_bucket }),
        json!({ "ParameterKey": "CodeKey", "ParameterValue": wanted.package_key() }),
    ];
    for (fact, value) in facts(wanted, old) {
        let key = FACTS.iter().find(|(known, _)| *known == fact).map_or(fact.as_str(), |(_, parameter)| *parameter);
        parameters.push(json!({ "ParameterKey": key, "ParameterValue": value }));
    }
    let mut held = Vec::new();
    if let Some((id, secret)) = &wanted.keys {
        for (key, value) in [("StoreKeyId", id), ("StoreKeySecret", secret)] {
            held.push((format!("/Parameters/{}/ParameterValue", parameters.len()), Held::Secret(value.clone())));
            parameters.push(json!({ "ParameterKey": key, "ParameterValue": "***" }));
        }
    }
    let set = format!("tdmq-backup-{}", wanted.stamp);
    let create = json!({
        "StackName": stack(name),
        "ChangeSetName": set,
        "ChangeSetType": if old.is_some() { "UPDATE" } else { "CREATE" },
        "Description": DESCRIPTION,
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        "Tags": [{ "Key": TAG.0, "Value": TAG.1 }],
        "Parameters": parameters,
    });
    let create =
        call(region, "cloudformation", "create-change-set", create).with(&["--template-body", "file://template.yaml"]);
    let create = held.into_iter().fold(create, |call, (pointer, held)| call.holding(pointer, held));
    let named = json!({ "StackName": stack(name), "ChangeSetName": set });
    steps.extend([
        Step::Call(create),
        Step::Call(call(region, "cloudformation", "wait change-set-create-complete", named.clone())),
        Step::Call(describe_set(region, name, wanted.stamp)),
    ]);
    steps.extend(old.into_iter().flat_map(|old| wanted.carry(old)));
    let done = if old.is_some() { "wait stack-update-complete" } else { "wait stack-create-complete" };
    steps.extend([
        Step::Call(call(region, "cloudformation", "execute-change-set", named)),
        Step::Call(call(region, "cloudformation", done, json!({ "StackName": stack(name) }))),
    ]);
    // The schedule stays as it is where the change set has no change for it; a deployment that was cut off may have left it off.
    steps.extend(old.map(|_| Step::Timer(true)));
    steps
}

/// What would change, of a change set that is there; its lines for a reader.
pub fn set_changes(answer: &Value) -> Vec<String> {
    let line = |change: &Value| {
        let of = |pointer| text(change, pointer);
        format!(
            "{} {} ({})",
            of("/ResourceChange/Action"),
            of("/ResourceChange/LogicalResourceId"),
            of("/ResourceChange/ResourceType")
        )
    };
    list(answer, "/Changes").iter().map(line).collect()
}

pub fn describe_set(region: &str, name: &str, stamp: u64) -> Call {
    let named = json!({ "StackName": stack(name), "ChangeSetName": format!("tdmq-backup-{stamp}") });
    call(region, "cloudformation", "describe-change-set", named)
}

pub fn drop_set(region: &str, name: &str, stamp: u64) -> Call {
    let named = json!({ "StackName": stack(name), "ChangeSetName": format!("tdmq-backup-{stamp}") });
    call(region, "cloudformation", "delete-change-set", named)
}

/// Whether `get-schedule` answered that it starts runs.
pub fn is_on(schedule: &Value) -> bool {
    schedule["State"] != "DISABLED"
}

pub fn timer(region: &str, name: &str) -> Call {
    call(region, "scheduler", "get-schedule", json!({ "Name": name }))
}

/// The schedule as `get-schedule` answered it, switched on or off: an update replaces all of it.
pub fn timer_is(region: &str, schedule: &Value, on: bool) -> Call {
    let mut parameters = schedule.clone();
    if let Some(parameters) = parameters.as_object_mut() {
        for answered in ["Arn", "CreationDate", "LastModificationDate"] {
            parameters.remove(answered);
        }
        parameters.insert("State".into(), if on { "ENABLED" } else { "DISABLED" }.into());
    }
    call(region, "scheduler", "update-schedule", parameters)
}

/// One run with an event, waited for. Prints what the function answered, then what Lambda says about it.
pub fn invoke(region: &str, name: &str, event: &str) -> Call {
    let said = ["--function-name", name, "--invocation-type", "RequestResponse", "--payload", event];
    call(region, "lambda", "invoke", Value::Null).with(&said).with(&["--cli-read-timeout", "0", "/dev/stdout"])
}

/// The lines of runs since an instant, the oldest first.
pub fn logs(region: &str, name: &str, from_ms: u64) -> Call {
    let parameters = json!({
        "logGroupName": format!("/aws/lambda/{name}"),
        "startTime": from_ms,
        "filterPattern": "{ $.outcome = * }",
    });
    call(region, "logs", "filter-log-events", parameters)
}

pub fn delete(region: &str, name: &str) -> Vec<Call> {
    let whole = json!({ "StackName": stack(name) });
    vec![
        call(region, "cloudformation", "delete-stack", whole.clone()),
        call(region, "cloudformation", "wait stack-delete-complete", whole),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failed_first_deployment_left_is_told_from_a_stack_that_can_be_edited() {
        let of = |state: &str| was_never_made(&deployed(&json!({ "StackName": "s", "StackStatus": state })));
        assert!(of("ROLLBACK_COMPLETE") && of("CREATE_FAILED"));
        assert!(!of("CREATE_COMPLETE") && !of("UPDATE_ROLLBACK_COMPLETE") && !of("UPDATE_COMPLETE"));
    }
}
