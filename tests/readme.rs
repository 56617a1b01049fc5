//! The README says what is so, and the page of guarantees: rules are rules, commands exist, proofs are tests.

use std::fs;
use std::path::Path;

use tdmq_backup::Rule;

const README: &str = include_str!("../README.md");
const GUARANTEE: &str = include_str!("../src/guarantee.md");

/// The fenced blocks of a language, without the indentation of a list.
fn blocks(language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<Vec<&str>> = None;
    for line in README.lines().map(str::trim) {
        match (&mut block, line.strip_prefix("```")) {
            (None, Some(found)) if found == language => block = Some(Vec::new()),
            (None, Some(_)) => block = Some(vec!["\0other"]),
            (Some(_), Some(_)) => {
                let lines = block.take().unwrap();
                if lines.first() != Some(&"\0other") {
                    blocks.push(lines.join("\n"));
                }
            }
            (Some(lines), None) => lines.push(line),
            (None, None) => {}
        }
    }
    blocks
}

#[test]
fn every_toml_block_is_a_rule() {
    let blocks = blocks("toml");
    assert!(!blocks.is_empty());
    for block in blocks {
        Rule::from_toml(&block).unwrap_or_else(|problems| panic!("{problems}"));
    }
}

#[test]
fn every_json_block_is_a_record_of_ours() {
    let blocks = blocks("json");
    assert!(!blocks.is_empty());
    for block in blocks {
        tdmq_backup::encode::jsonl::read(block.as_bytes()).unwrap();
    }
}

#[test]
fn every_command_exists() {
    let makefile = include_str!("../Makefile");
    let commands: Vec<String> = blocks("sh").concat().split_whitespace().map(str::to_owned).collect();
    let mut found = 0;
    for pair in commands.windows(2).filter(|pair| pair[0] == "make") {
        assert!(makefile.contains(&format!("\n{}:", pair[1])), "make {} is not in the Makefile", pair[1]);
        found += 1;
    }
    assert!(found >= 2);
}

#[test]
fn every_proof_is_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    let mut folders = vec![root.join("tests"), root.join("src"), root.join("handler")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("rs") if !path.ends_with("readme.rs") => sources.push_str(&fs::read_to_string(path).unwrap()),
                None if path.is_dir() => folders.push(path),
                _ => {}
            }
        }
    }
    let is_name = |code: &&str| {
        let letters = code.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit());
        code.matches('_').count() >= 4 && letters
    };
    let names: Vec<&str> =
        [README, GUARANTEE].into_iter().flat_map(|page| page.split('`').skip(1).step_by(2)).filter(is_name).collect();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        assert!(sources.contains(&format!("fn {name}(")), "no test is called {name}");
    }
}

#[test]
fn every_link_into_the_repository_leads_somewhere() {
    for (page, folder) in [(README, ""), (GUARANTEE, "src")] {
        let links = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with('#')) {
            assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(link).exists(), "{link} is not there");
        }
    }
}
