//! One long incompressible object in parts, beside a plain PUT of the same file by curl, in turn.
//!
//! ```sh
//! tests/real/run cargo bench --bench upload        # MEGABYTES=500 ROUNDS=5
//! ```
//!
//! Prints seconds of each round, the medians, and the peak memory of this process, which holds the whole way of an
//! object: spool, digests, upload.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tdmq_backup::Clock;
use tdmq_backup::encode::spool::{Body, Spool};
use tdmq_backup::store::{Addressing, Keys, Limits, S3, Settings, Store, Upload};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn component(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run it by tests/real/run cargo bench"))
}

/// Random enough for every compressor, the same each time.
fn noise(bytes: u64, mut take: impl FnMut(&[u8])) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut chunk = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        for eight in chunk.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            eight.copy_from_slice(&state.to_le_bytes());
        }
        let now = left.min(chunk.len() as u64);
        take(&chunk[..now as usize]);
        left -= now;
    }
}

fn peak_mebibytes() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (bytes, rounds) = (number("MEGABYTES", 500) * 1_000_000, number("ROUNDS", 5));
    let endpoint = component("REAL_S3_ENDPOINT");
    let (id, secret) = (component("REAL_S3_ACCESS_KEY"), component("REAL_S3_SECRET_KEY"));
    let bucket = format!("upload-{}", std::process::id());
    let folder = Path::new(&component("REAL_S3_DIR")).join(&bucket);
    fs::create_dir(&folder).unwrap();
    let clock = Clock::system();
    let settings = Settings {
        endpoint: endpoint.clone(),
        region: "us-east-1".to_owned(),
        bucket: bucket.clone(),
        addressing: Addressing::Path,
        keys: Keys::new(&id, &secret, None),
        storage_class: None,
        sse: None,
        limits: Limits::default(),
    };
    let store = S3::new(settings, clock).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::new(dir.path(), 4 << 20);
    let spooling = clock.now();
    noise(bytes, |chunk| spool.append(chunk).unwrap());
    let body: Body = spool.finish(b"");
    println!("spooled   {:.2} s, digests included", (clock.now() - spooling).as_secs_f64());
    let plain = dir.path().join("plain");
    let mut file = File::create(&plain).unwrap();
    noise(bytes, |chunk| file.write_all(chunk).unwrap());

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let began = clock.now();
        let key = format!("parts-{round}");
        let upload =
            Upload { key: &key, content_type: "application/gzip", content_encoding: None, metadata: &[], body: &body };
        store.put(&upload, None).await.unwrap();
        let parts = clock.now() - began;
        let began = clock.now();
        let put = Command::new("curl")
            .args(["-sSf", "--noproxy", "*", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user"])
            .arg(format!("{id}:{secret}"))
            .args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "-H", "Expect:", "-T"])
            .arg(&plain)
            .arg(format!("{endpoint}/{bucket}/plain-{round}"))
            .status();
        assert!(put.unwrap().success());
        let put = clock.now() - began;
        for name in [key, format!("plain-{round}")] {
            fs::remove_file(folder.join(name)).unwrap();
        }
        // The first round warms what there is to warm.
        if round > 0 {
            println!("round {round}   parts {:.2} s   one PUT {:.2} s", parts.as_secs_f64(), put.as_secs_f64());
            ours.push(parts);
            theirs.push(put);
        }
    }
    println!("median    parts {:.2} s   one PUT {:.2} s", median(ours), median(theirs));
    println!("peak      {:.1} MiB", peak_mebibytes());
}
