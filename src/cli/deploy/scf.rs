//! A rule as a function of Tencent SCF: the calls that make, edit, show and remove it.
//!
//! Nothing here calls anything. The definitions of the calls are the vendor's own, in tccli.

use serde_json::{Map, Value, json};

use super::call::{Call, Held, Tool};
use super::schedule;
use super::wanted::{Deployed, Facts, Step, TAG, Wanted, list, raw, text};

/// SCF takes letters, digits, blanks, commas and full stops in a description.
const DESCRIPTION: &str = "Made by tdmq backup, remove with make delete";
/// A package larger than this goes through the bucket: a request may have 10 MB, and base64 makes three bytes four.
pub const INLINE: u64 = 7_000_000;

fn call(region: &str, action: &'static str, parameters: Value) -> Call {
    Call::new(Tool::Tccli, "scf", action, region, parameters)
}

pub fn look(region: &str, name: &str) -> Call {
    call(region, "GetFunction", json!({ "FunctionName": name, "ShowCode": "FALSE" }))
}

/// A page of a hundred of all functions.
pub fn all(region: &str, page: usize) -> Call {
    call(region, "ListFunctions", json!({ "Offset": page * 100, "Limit": 100 }))
}

pub fn is_ours(function: &Value) -> bool {
    text(function, "/Description") == DESCRIPTION
        && list(function, "/Tags").iter().any(|tag| tag["Key"] == TAG.0 && tag["Value"] == TAG.1)
}

/// What `GetFunction` answered.
pub fn deployed(function: &Value) -> Deployed {
    let mut facts = Facts::new();
    let mut put = |name: &str, value: String| {
        if !value.is_empty() {
            facts.insert(name.to_owned(), value);
        }
    };
    for variable in list(function, "/Environment/Variables") {
        let key = text(variable, "/Key");
        if let Some((fact, _)) = VARIABLES.iter().find(|(_, name)| *name == key) {
            put(fact, raw(variable, "/Value"));
        }
        // That there is one, and nothing of it.
        if key == TOKEN && !text(variable, "/Value").is_empty() {
            put("token", SET.to_owned());
        }
    }
    put("memory", text(function, "/MemorySize"));
    put("timeout", text(function, "/Timeout"));
    put("role", text(function, "/Role"));
    put("vpc", text(function, "/VpcConfig/VpcId"));
    put("subnet", text(function, "/VpcConfig/SubnetId"));
    let logs = [text(function, "/ClsLogsetId"), text(function, "/ClsTopicId")].join("/");
    put("logs", logs.trim_matches('/').to_owned());
    let name = text(function, "/FunctionName");
    let timer = list(function, "/Triggers")
        .iter()
        .find(|trigger| trigger["Type"] == "timer" && trigger["TriggerName"] == *name);
    if let Some(timer) = timer {
        let description = text(timer, "/TriggerDesc");
        let cron = serde_json::from_str::<Value>(&description).map_or(description.clone(), |json| text(&json, "/cron"));
        put("schedule", cron);
    }
    let paused = timer.is_some_and(|timer| timer["Enable"] == 0);
    Deployed { ours: is_ours(function), state: text(function, "/Status"), timer: timer.is_some(), paused, name, facts }
}

/// Facts that stand in the function's environment, where they override the packaged rule with what it says itself.
const VARIABLES: [(&str, &str); 7] = [
    ("topic", "TDMQ_BACKUP_TOPIC"),
    ("subscription", "TDMQ_BACKUP_SUBSCRIPTION"),
    ("shard", "TDMQ_BACKUP_SHARD"),
    ("store", "TDMQ_BACKUP_ENDPOINT"),
    ("bucket", "TDMQ_BACKUP_BUCKET"),
    ("prefix", "TDMQ_BACKUP_PREFIX"),
    ("interval", "TDMQ_BACKUP_INTERVAL"),
];

const TOKEN: &str = "TDMQ_BACKUP_TOKEN";
const SET: &str = "in the environment";

/// What an edit would take away that only the user can mean.
pub fn loses(wanted: &Wanted, old: &Deployed) -> Option<String> {
    (old.fact("token") == SET && wanted.rule.token.is_none()).then(|| {
        format!(
            "token: {:?} has one, and an edit replaces its environment: set {TOKEN} as for the first time; a cluster without \
             authentication does not mind it",
            old.name
        )
    })
}

/// What the function is to be.
pub fn facts(wanted: &Wanted) -> Facts {
    let (rule, deploy) = (&wanted.rule, &wanted.rule.deploy);
    let [topic, subscription, shard] = wanted.identity();
    let all = [
        ("topic", topic),
        ("subscription", subscription),
        ("shard", shard),
        ("store", rule.endpoint.to_string()),
        ("bucket", rule.bucket.to_string()),
        ("prefix", rule.prefix.to_string()),
        ("interval", format!("{}m", wanted.minutes)),
        ("memory", deploy.memory.unwrap_or(512).to_string()),
        ("timeout", schedule::timeout(schedule::last_gap(wanted.minutes)).to_string()),
        ("role", deploy.execution_role.clone().unwrap_or_default()),
        ("vpc", deploy.vpc.clone().unwrap_or_default()),
        ("subnet", deploy.subnet.clone().unwrap_or_default()),
        ("logs", deploy.log_topic.clone().unwrap_or_default()),
        ("schedule", schedule::cron(wanted.minutes)),
        ("token", rule.token.as_ref().map(|_| SET.to_owned()).unwrap_or_default()),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The calls that make the function, or make it what it is to be. `size` is the package's.
pub fn plan(wanted: &Wanted, old: Option<&Deployed>, size: u64) -> Vec<Step> {
    let (name, region) = (wanted.rule.name.as_str(), wanted.region.as_str());
    let mut steps = Vec::new();
    let code = code(wanted, size, &mut steps);
    let active = || Step::Call(look(region, name).with(&["--waiter", ACTIVE]));
    let fixed = json!({
        "MsgTTL": schedule::timeout(schedule::last_gap(wanted.minutes)),
        "RetryConfig": [{ "RetryNum": 0 }],
    });
    let once =
        call(region, "UpdateFunctionEventInvokeConfig", json!({ "FunctionName": name, "AsyncTriggerConfig": fixed }));
    match old {
        None => {
            let mut parameters = configuration(wanted);
            if wanted.rule.deploy.vpc.is_none() {
                parameters.remove("VpcConfig");
            }
            for (key, value) in [("Handler", "bootstrap.main"), ("Runtime", "CustomRuntime"), ("Type", "Event")] {
                parameters.insert(key.into(), value.into());
            }
            parameters.insert("Tags".into(), json!([{ "Key": TAG.0, "Value": TAG.1 }]));
            parameters.insert("Code".into(), Value::Object(code));
            let create = holding(call(region, "CreateFunction", Value::Object(parameters)), wanted, "/Code/ZipFile");
            steps.extend([Step::Call(create), active(), Step::Call(once)]);
        }
        Some(old) => {
            steps.extend(wanted.carry(old));
            let mut parameters = code;
            parameters.insert("FunctionName".into(), name.into());
            parameters.insert("Handler".into(), "bootstrap.main".into());
            let update = holding(call(region, "UpdateFunctionCode", Value::Object(parameters)), wanted, "/ZipFile");
            let configure = call(region, "UpdateFunctionConfiguration", Value::Object(configuration(wanted)));
            let configure = holding(configure, wanted, "");
            steps.extend([Step::Call(update), active(), Step::Call(configure), active(), Step::Call(once)]);
        }
    }
    let mut trigger = json!({
        "FunctionName": name, "TriggerName": name, "Type": "timer", "TriggerDesc": schedule::cron(wanted.minutes),
        "Qualifier": "$DEFAULT", "Enable": "OPEN",
    });
    let action = match old.is_some_and(|old| old.timer) {
        true => "UpdateTrigger",
        false => "CreateTrigger",
    };
    trigger["Description"] = DESCRIPTION.into();
    steps.push(Step::Call(call(region, action, trigger)));
    steps
}

const ACTIVE: &str = r#"{"expr":"Status","to":"Active","timeout":300,"interval":2}"#;

/// Opens or closes the timer.
pub fn timer_is(region: &str, name: &str, state: &str) -> Call {
    let parameters = json!({
        "FunctionName": name, "TriggerName": name, "Type": "timer", "Qualifier": "$DEFAULT", "Enable": state,
    });
    call(region, "UpdateTriggerStatus", parameters)
}

fn code(wanted: &Wanted, size: u64, steps: &mut Vec<Step>) -> Map<String, Value> {
    if size <= INLINE {
        let shown = format!("<base64 of {}>", wanted.package.display());
        return Map::from_iter([("ZipFile".to_owned(), Value::String(shown))]);
    }
    steps.push(Step::Upload);
    let bucket = wanted.rule.bucket.as_str();
    let name = bucket.rsplit_once('-').map_or(bucket, |(name, _)| name);
    Map::from_iter([
        ("CosBucketName".to_owned(), name.into()),
        ("CosObjectName".to_owned(), format!("/{}", wanted.package_key()).into()),
        ("CosBucketRegion".to_owned(), wanted.rule.region.as_str().into()),
    ])
}

/// What is the same for a new function and for an edited one.
fn configuration(wanted: &Wanted) -> Map<String, Value> {
    let facts = facts(wanted);
    let fact = |name: &str| facts.get(name).cloned().unwrap_or_default();
    let (set, topic) = fact("logs").split_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap_or_default();
    let mut parameters = Map::from_iter([
        ("FunctionName".to_owned(), wanted.rule.name.as_str().into()),
        ("Description".to_owned(), DESCRIPTION.into()),
        ("MemorySize".to_owned(), wanted.rule.deploy.memory.unwrap_or(512).into()),
        ("Timeout".to_owned(), schedule::timeout(schedule::last_gap(wanted.minutes)).into()),
        ("Environment".to_owned(), json!({ "Variables": variables(wanted, &facts) })),
        // Empty, it takes an edited function out of its VPC.
        ("VpcConfig".to_owned(), json!({ "VpcId": fact("vpc"), "SubnetId": fact("subnet") })),
        // In a VPC, too: whether it has another way to the bucket is the user's to know.
        ("PublicNetConfig".to_owned(), json!({ "PublicNetStatus": "ENABLE" })),
    ]);
    for (key, value) in [("Role", fact("role")), ("ClsLogsetId", set), ("ClsTopicId", topic)] {
        if !value.is_empty() {
            parameters.insert(key.to_owned(), value.into());
        }
    }
    parameters
}

fn variables(wanted: &Wanted, facts: &Facts) -> Vec<Value> {
    let stands = VARIABLES.iter().filter_map(|(fact, name)| Some((*name, facts.get(*fact)?.as_str())));
    let held = secrets(wanted).into_iter().map(|(name, _)| (name, "***"));
    stands.chain(held).map(|(key, value)| json!({ "Key": key, "Value": value })).collect()
}

fn secrets(wanted: &Wanted) -> Vec<(&'static str, tdmq_backup::Secret)> {
    let mut secrets = Vec::new();
    if let Some(token) = &wanted.rule.token {
        secrets.push((TOKEN, token.clone()));
    }
    if let Some((id, key)) = &wanted.keys {
        secrets.push(("AWS_ACCESS_KEY_ID", id.clone()));
        secrets.push(("AWS_SECRET_ACCESS_KEY", key.clone()));
    }
    secrets
}

/// Bytes of the environment, of which SCF takes 4 KB.
pub fn environment_size(wanted: &Wanted) -> usize {
    let facts = facts(wanted);
    let stands = VARIABLES.iter().filter_map(|(fact, name)| Some(name.len() + facts.get(*fact)?.len()));
    stands.sum::<usize>()
        + secrets(wanted).iter().map(|(name, secret)| name.len() + secret.reveal().len()).sum::<usize>()
}

/// Puts the package at `zip` and the secrets into the environment, where the call has them.
fn holding(mut call: Call, wanted: &Wanted, zip: &str) -> Call {
    if !zip.is_empty() && call.parameters.pointer(zip).is_some() {
        call = call.holding(zip, Held::File(wanted.package.clone()));
    }
    let variables = list(&call.parameters, "/Environment/Variables").to_vec();
    for (name, secret) in secrets(wanted) {
        if let Some(at) = variables.iter().position(|variable| variable["Key"] == name) {
            call = call.holding(format!("/Environment/Variables/{at}/Value"), Held::Secret(secret));
        }
    }
    call
}

/// One run with an event, waited for. SCF itself waits for at most 300 s.
pub fn invoke(region: &str, name: &str, event: &str) -> Call {
    call(region, "InvokeFunction", json!({ "FunctionName": name, "Event": event, "LogType": "None" }))
        .with(&["--timeout", "310"])
}

/// The newest runs, the newest first. No times: which zone SCF reads them in is not documented.
pub fn logs(region: &str, name: &str, limit: usize) -> Call {
    let parameters =
        json!({ "FunctionName": name, "Limit": limit, "Offset": 0, "Order": "desc", "OrderBy": "start_time" });
    call(region, "GetFunctionLogs", parameters)
}

/// The timer goes first, so that nothing starts what is about to go.
pub fn delete(region: &str, old: &Deployed) -> Vec<Call> {
    let name = old.name.as_str();
    let mut calls = Vec::new();
    if old.timer {
        let parameters = json!({ "FunctionName": name, "TriggerName": name, "Type": "timer", "Qualifier": "$DEFAULT" });
        calls.push(call(region, "DeleteTrigger", parameters));
    }
    calls.push(call(region, "DeleteFunction", json!({ "FunctionName": name })));
    calls
}

#[cfg(test)]
mod tests {
    use tdmq_backup::Rule;

    use super::*;

    #[test]
    fn a_package_that_is_too_large_for_a_call_goes_through_the_bucket() {
        let rule = Rule::from_toml(include_str!("../../rule/example.toml")).unwrap();
        let wanted = Wanted {
            region: rule.region.clone(),
            minutes: 5,
            package: "package.zip".into(),
            digest: "0123456789abcdef0123".into(),
            code_bucket: None,
            keys: None,
            set: Facts::new(),
            stamp: 0,
            rule,
        };
        let inline = plan(&wanted, None, INLINE);
        assert!(
            matches!(&inline[0], Step::Call(call) if call.parameters["Code"]["ZipFile"] == "<base64 of package.zip>")
        );
        let steps = plan(&wanted, None, INLINE + 1);
        let [Step::Upload, Step::Call(create), ..] = &steps[..] else { panic!("{steps:?}") };
        let code = json!({
            "CosBucketName": "orders", "CosObjectName": "/tdmq/_deploy/orders-backup-0123456789abcdef.zip",
            "CosBucketRegion": "ap-guangzhou",
        });
        assert_eq!(create.parameters["Code"], code);
    }
}
