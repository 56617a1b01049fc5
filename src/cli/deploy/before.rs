//! What must be so before anything is deployed: everything that is wrong, at once, each with what to do.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use tdmq_backup::Rule;

use super::wanted::{Target, Wanted, is_aws};
use super::{scf, schedule};

/// Regions as TDMQ's addresses write them.
const SHORT: [(&str, &str); 6] = [
    ("ap-gz", "ap-guangzhou"),
    ("ap-sh", "ap-shanghai"),
    ("ap-hk", "ap-hongkong"),
    ("ap-bj", "ap-beijing"),
    ("ap-cd", "ap-chengdu"),
    ("ap-sg", "ap-singapore"),
];

/// What a CAM policy for the execution role of an SCF function says.
pub fn cam_policy(rule: &Rule) -> String {
    let bucket = rule.bucket.as_str();
    let appid = bucket.rsplit_once('-').map_or("", |(_, appid)| appid);
    let resource = |path: &str| format!("qcs::cos:{}:uid/{appid}:{bucket}/{path}", rule.region);
    let below = resource(&format!("{}*", rule.prefix));
    serde_json::json!({
        "version": "2.0",
        "statement": [
            {
                "effect": "allow",
                "action": [
                    "name/cos:GetObject", "name/cos:HeadObject", "name/cos:PutObject", "name/cos:InitiateMultipartUpload",
                    "name/cos:UploadPart", "name/cos:CompleteMultipartUpload", "name/cos:AbortMultipartUpload"
                ],
                "resource": [below],
            },
            { "effect": "allow", "action": ["name/cos:GetBucket"], "resource": [resource(&format!("{}*", rule.prefix)), resource("")] },
        ],
    })
    .to_string()
}

/// What is wrong, and what is odd and allowed.
#[derive(Debug, Default)]
pub struct Findings {
    pub problems: Vec<String>,
    pub warnings: Vec<String>,
}

/// Of the rule for a target. `keys`: whether there are keys for a store on the other cloud.
pub fn rule(rule: &Rule, target: Target, region: &str, keys: bool) -> Findings {
    let mut found = Findings { problems: Vec::new(), warnings: rule.warnings.clone() };
    if schedule::minutes(rule).is_none() {
        let seconds = rule.interval.as_secs();
        found.problems.push(format!(
            "interval: timers tick in whole minutes, got {seconds} s: write \"{}m\"",
            seconds.div_ceil(60)
        ));
    }
    tdmq(rule, target, region, &mut found);
    match target {
        Target::Scf => for_scf(rule, keys, &mut found),
        Target::Lambda => for_lambda(rule, keys, &mut found),
    }
    found
}

fn tdmq(rule: &Rule, target: Target, region: &str, found: &mut Findings) {
    let hosts =
        rule.service_url.hosts.iter().map(|(host, _)| host.as_str()).filter(|host| host.ends_with(".tencenttdmq.com"));
    for host in hosts {
        let public = host.split('.').any(|part| part == "public");
        if let (Target::Lambda, false) = (target, public) {
            found.warnings.push(format!(
                "service_url: {host} is an address inside of Tencent Cloud: from Lambda it is reached through a VPN or a line only; \
                 use the cluster's public address"
            ));
        }
        let there =
            SHORT.iter().find(|(short, _)| host.split('.').any(|part| part == *short)).map(|(_, region)| *region);
        let Some(there) = there.filter(|there| *there != region && target == Target::Scf) else { continue };
        let text = format!("service_url: the cluster is in {there} and the bucket and the function are in {region}");
        match public {
            true => found.warnings.push(format!("{text}: traffic between regions is slow and charged")),
            false => {
                found.problems.push(format!("{text}, where its VPC address leads nowhere: use a bucket in {there}"))
            }
        }
    }
}

fn for_scf(rule: &Rule, keys: bool, found: &mut Findings) {
    let deploy = &rule.deploy;
    let mut problem = |text: &str| found.problems.push(text.to_owned());
    if rule.name.len() < 2 || rule.name.ends_with(['-', '_']) {
        problem("name: SCF takes 2 to 60 characters, the last a letter or a digit");
    }
    if deploy.memory.is_some_and(|memory| !memory.is_multiple_of(128) || memory > 3072) {
        problem("deploy.memory: SCF takes 128 to 3072 in steps of 128 (and 64, which is less than a run needs)");
    }
    if deploy.vpc.is_some() != deploy.subnet.is_some() {
        problem("deploy.vpc, deploy.subnet: SCF needs both or neither");
    }
    if deploy.security_group.is_some() {
        problem(
            "deploy.security_group: SCF functions have none: remove it, and let the cluster's group allow the subnet",
        );
    }
    if deploy.log_topic.as_ref().is_some_and(|logs| logs.split('/').filter(|part| !part.is_empty()).count() != 2) {
        problem("deploy.log_topic: SCF needs the log set too: write \"<log set id>/<log topic id>\"");
    }
    if deploy.token_secret.is_some() {
        problem(
            "deploy.token_secret: SCF has no secret store that a function reads by itself: remove it, and set TDMQ_BACKUP_TOKEN or TDMQ_BACKUP_TOKEN_FILE while deploying",
        );
    }
    if let Some(minutes) = schedule::minutes(rule) {
        found.warnings.extend(schedule::warning(minutes));
    }
    if rule.endpoint.is_cos() {
        if deploy.execution_role.is_none() {
            found.problems.push(format!(
                "deploy.execution_role: is missing: make a CAM role for the product SCF with this policy, and write its name: {}",
                cam_policy(rule)
            ));
        }
    } else if is_aws(&rule.endpoint) {
        if !keys {
            found.problems.push(
                "endpoint: the store is S3 and the function runs on SCF, whose role does not open it: set AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY of an IAM user that may write the bucket while deploying, and no session token; they stand in the function's environment"
                    .to_owned(),
            );
        }
    } else {
        found
            .warnings
            .push("endpoint: is neither COS nor S3: the function tries the keys of its own role there".to_owned());
    }
    if rule.token.is_none() {
        found.warnings.push(
            "token: none: right only where the cluster has no authentication; else set TDMQ_BACKUP_TOKEN".to_owned(),
        );
    }
}

fn for_lambda(rule: &Rule, keys: bool, found: &mut Findings) {
    let deploy = &rule.deploy;
    let mut problem = |text: &str| found.problems.push(text.to_owned());
    if deploy.subnet.is_some() != deploy.security_group.is_some() {
        problem("deploy.subnet, deploy.security_group: Lambda needs both or neither");
    }
    if deploy.vpc.is_some() && deploy.subnet.is_none() {
        problem("deploy.vpc: alone it does nothing: add deploy.subnet and deploy.security_group, or remove it");
    }
    if deploy.log_topic.is_some() {
        problem("deploy.log_topic: on Lambda the log group is made with the function: remove it");
    }
    if deploy.execution_role.as_ref().is_some_and(|role| !role.starts_with("arn:aws")) {
        problem(
            "deploy.execution_role: Lambda needs the role's ARN, as in \"arn:aws:iam::123456789012:role/backup\"; without any, one is made",
        );
    }
    match (&rule.token, &deploy.token_secret) {
        (Some(_), None) => problem(
            "deploy.token_secret: is missing: on Lambda the token comes from Secrets Manager and never stands in the environment: \
             aws secretsmanager create-secret --name tdmq-backup/<rule> --secret-string file://token.jwt, and write token_secret = \"tdmq-backup/<rule>\"",
        ),
        (None, None) => found
            .warnings
            .push("deploy.token_secret: none: right only where the cluster has no authentication".to_owned()),
        (_, Some(_)) => {}
    }
    if rule.endpoint.is_cos() && !keys {
        found.problems.push(
            "endpoint: the store is COS and the function runs on Lambda, whose role does not open it: set TENCENTCLOUD_SECRETID and \
             TENCENTCLOUD_SECRETKEY of a CAM user that may write the bucket while deploying, and no session token; they stand in the function's environment"
                .to_owned(),
        );
    }
    if !rule.endpoint.is_cos() && !is_aws(&rule.endpoint) {
        found
            .warnings
            .push("endpoint: is neither S3 nor COS: the function tries the keys of its own role there".to_owned());
    }
}

/// Of the package: that it is one, that it holds this rule, and its size.
pub fn package(path: &Path, rule: &Path) -> Result<(Vec<u8>, u64), String> {
    let read = |file: &Path| {
        std::fs::read(file)
            .map_err(|error| format!("package: {} cannot be read ({error}): run make package first", file.display()))
    };
    let (bytes, rule) = (read(path)?, read(rule)?);
    if !bytes.starts_with(b"PK\x03\x04") {
        return Err(format!("package: {} is not a zip file: run make package again", path.display()));
    }
    match holds(&bytes, &rule) {
        true => {
            let size = bytes.len() as u64;
            Ok((bytes, size))
        }
        false => Err(format!(
            "package: {} holds another rule, by which the function would run: run make package again",
            path.display()
        )),
    }
}

/// The script that looks at a package; its exit code where it cannot.
const CHECK: (&str, i32) = ("tests/check-package", 3);

/// Of the program in it: what the platforms do not have, or do not take, as [`CHECK`] says.
pub fn program(path: &Path) -> Result<(), String> {
    let cannot = |why: &str| Err(format!("package: {} cannot be checked here: {why}", path.display()));
    if !Path::new(CHECK.0).is_file() {
        return cannot(&format!("{} is missing: deploy from the project's directory", CHECK.0));
    }
    let output = match Command::new("bash").arg(CHECK.0).arg(path).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => return cannot("bash is missing: install bash"),
        Err(error) => return cannot(&format!("bash cannot be started ({error})")),
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => output,
    };
    let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    let said: Vec<&str> = said.lines().map(|line| line.trim_start_matches("check-package: ")).collect();
    if output.status.code() == Some(CHECK.1) {
        return cannot(&said.join("; "));
    }
    Err(format!(
        "package: {} is not one that the platforms run: {}: run make package again in the project's directory, without PROGRAM=",
        path.display(),
        said.join("; ")
    ))
}

/// Whether a zip file of ours has this rule in it, where it stands uncompressed behind its name.
fn holds(zip: &[u8], rule: &[u8]) -> bool {
    let entry = [b"rule.toml", rule].concat();
    // Its header is 30 bytes, and says the length first.
    let length = u32::try_from(rule.len()).unwrap_or(u32::MAX).to_le_bytes();
    let ends = |at: usize| at >= 30 && zip[at - 8..at - 4] == length && zip[at - 30..].starts_with(b"PK\x03\x04");
    zip.windows(entry.len()).enumerate().any(|(at, window)| window == entry && ends(at))
}

/// Of what is put together: what the platform refuses by size.
pub fn sizes(wanted: &Wanted, target: Target, size: u64) -> Vec<String> {
    let mut problems = Vec::new();
    let environment = scf::environment_size(wanted);
    if target == Target::Scf && environment > 4096 {
        problems.push(format!(
            "token: the function's environment would have {environment} bytes, and SCF takes 4096: use a shorter token"
        ));
    }
    if target == Target::Scf && size > scf::INLINE && !wanted.rule.endpoint.is_cos() {
        problems.push(
            "package: is too large for a call, and only a bucket on COS can hold it for SCF: make it smaller"
                .to_owned(),
        );
    }
    if target == Target::Lambda && wanted.code_bucket.is_none() {
        problems.push(format!(
            "CODE_BUCKET: the rule's bucket is not an S3 bucket in {}: name one there that may hold the package",
            wanted.region
        ));
    }
    problems
}
