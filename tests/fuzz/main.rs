//! Bytes that nobody should send, into everything that parses what others send.
//!
//! ```text
//!  seed, parser, number ─▶ dice ─▶ input ─▶ parser ─▶ no panic, no wait, no memory, and what it promises
//! ```
//!
//! `make fuzz INPUTS=…`: so many for each parser, and a share of that for those behind a socket. A plain test tries a
//! fixed few. What fails prints the command that repeats it. Where the process itself dies (an abort, a stack that
//! overflows), `target/tmp/fuzz` has the command that repeats the inputs it died of; after a run to its end it is gone.
//! Each past failure has a test of its own beside the code that was mended.

#[path = "../simulate/dice.rs"]
mod dice;
mod frames;
mod gauge;
mod mutate;
mod network;
mod stored;
mod texts;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use dice::{Dice, number};
use tdmq_backup::Clock;

/// Of a plain test, for each parser.
const FIXED: u64 = 1_000;
/// And of one that has a share only.
const LEAST: u64 = 50;
/// An input that takes longer is slow.
const SLOW: Duration = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 2 });
/// After this long a parser hangs.
const HANGS: Duration = Duration::from_secs(60);
/// What one input may add to the memory of this process, in MiB: what a function of 128 MB has left, less the run's own.
const MOST_MIB: u64 = 80;
/// Inputs between two looks at the memory.
const BETWEEN: u64 = 128;
/// What is being tried, for whoever finds that the process died of it.
const TRYING: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/fuzz");

type Input = Box<dyn Fn(&mut Dice) -> Vec<u8>>;
/// Tries one input; an error is a promise broken.
type Check = Box<dyn FnMut(&[u8]) -> Result<(), String>>;

/// One parser, and what makes inputs for it.
pub struct Parser {
    name: &'static str,
    /// One input where the others have so many.
    share: u64,
    input: Input,
    check: Check,
}

impl Parser {
    pub fn new(
        name: &'static str,
        input: impl Fn(&mut Dice) -> Vec<u8> + 'static,
        check: impl FnMut(&[u8]) -> Result<(), String> + 'static,
    ) -> Self {
        Parser { name, share: 1, input: Box::new(input), check: Box::new(check) }
    }

    pub fn sharing(self, share: u64) -> Self {
        Parser { share, ..self }
    }

    fn input(&self, seed: u64, number: u64) -> Vec<u8> {
        let name = u64::from(crc32c::crc32c(self.name.as_bytes()));
        (self.input)(&mut Dice::new(seed ^ (name << 32) ^ number.wrapping_mul(0x9e37_79b9)))
    }

    /// What is wrong with the answer to this input. What was slow is tried again: the machine may have been.
    fn fails(&mut self, input: &[u8]) -> Option<String> {
        let first = self.fails_once(input)?;
        if !first.starts_with("it took") {
            return Some(first);
        }
        let before = gauge::busy();
        let again = self.fails_once(input)?;
        (!again.starts_with("it took") || gauge::busy() - before > SLOW).then_some(again)
    }

    fn fails_once(&mut self, input: &[u8]) -> Option<String> {
        let clock = Clock::system();
        let before = clock.now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.check)(input)));
        let took = clock.now() - before;
        match outcome {
            Err(_) => Some(format!("it panicked: {}", PANIC.take())),
            Ok(Err(why)) => Some(why),
            Ok(Ok(())) => (took > SLOW).then(|| format!("it took {took:?}")),
        }
    }
}

/// Memory is counted for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

fn parsers() -> Vec<Parser> {
    [frames::parsers(), stored::parsers(), texts::parsers(), network::parsers()].into_iter().flatten().collect()
}

/// The same each time; or those that `PARSER`, `SEED`, `FROM` and `INPUTS` name.
#[test]
fn no_input_makes_a_parser_panic_or_wait_or_take_much_memory() {
    let _alone = ALONE.lock();
    let seed = number("SEED").unwrap_or(1);
    let (from, inputs) = (number("FROM").unwrap_or(0), number("INPUTS").unwrap_or(FIXED));
    let only = std::env::var("PARSER").ok().filter(|name| !name.is_empty());
    let mut parsers = parsers();
    std::panic::set_hook(Box::new(|info| PANIC.set(info.to_string())));
    parsers.retain(|parser| only.as_deref().is_none_or(|name| name == parser.name));
    assert!(!parsers.is_empty(), "PARSER names none of them");
    let (mut tried, mut peak, mut failures) = (0, 0, Vec::new());
    let (progress, watched) = (AtomicU64::new(0), AtomicU64::new(0));
    let (done, over) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let (names, progress, watched) = (parsers.iter().map(|it| it.name).collect::<Vec<_>>(), &progress, &watched);
        scope.spawn(move || {
            let mut last = (u64::MAX, 0);
            while over.recv_timeout(HANGS).is_err_and(|why| why == std::sync::mpsc::RecvTimeoutError::Timeout) {
                let now = (progress.load(Relaxed), watched.load(Relaxed));
                if now == last {
                    println!("{}", repeat(names[now.1 as usize], seed, now.0, 1));
                    println!("this input hangs");
                    std::process::exit(101);
                }
                last = now;
            }
        });
        for (index, parser) in parsers.iter_mut().enumerate() {
            watched.store(index as u64, Relaxed);
            let end = from + if only.is_some() { inputs } else { inputs.div_ceil(parser.share).max(LEAST.min(inputs)) };
            for start in (from..end).step_by(BETWEEN as usize) {
                let numbers = start..end.min(start + BETWEEN);
                std::fs::write(TRYING, repeat(parser.name, seed, start, numbers.end - start) + "\n").unwrap();
                let before = gauge::reset();
                for number in numbers.clone() {
                    progress.store(number, Relaxed);
                    let input = parser.input(seed, number);
                    if let Some(why) = parser.fails(&input) {
                        failures.push((parser.name, number, why, input));
                    }
                    tried += 1;
                }
                let after = gauge::peak();
                peak = peak.max(after);
                if after.saturating_sub(before) > MOST_MIB {
                    failures.extend(greedy(parser, seed, numbers));
                }
                if failures.len() > 20 {
                    break;
                }
            }
        }
        drop(done);
    });
    std::fs::remove_file(TRYING).unwrap();
    drop(std::panic::take_hook());
    for (name, number, why, input) in &failures {
        let shown: String = input.escape_ascii().to_string().chars().take(300).collect();
        println!("{name}: {why}\n  {} bytes: {shown}\n  {}", input.len(), repeat(name, seed, *number, 1));
    }
    let slow = failures.iter().filter(|(.., why, _)| why.contains("took")).count();
    println!(
        "fuzz: {} parsers, {tried} inputs, {} failures, {slow} slow or greedy, peak {peak} MiB",
        parsers.len(),
        failures.len() - slow
    );
    assert!(failures.is_empty(), "{} inputs failed", failures.len());
}

/// The inputs that took too much memory, each tried alone.
fn greedy(
    parser: &mut Parser,
    seed: u64,
    numbers: std::ops::Range<u64>,
) -> Option<(&'static str, u64, String, Vec<u8>)> {
    numbers.into_iter().find_map(|number| {
        let input = parser.input(seed, number);
        let before = gauge::reset();
        let _ = parser.fails(&input);
        let more = gauge::peak().saturating_sub(before);
        (more > MOST_MIB).then(|| (parser.name, number, format!("it took {more} MiB"), input))
    })
}

fn repeat(parser: &str, seed: u64, from: u64, inputs: u64) -> String {
    format!("repeat it with: make fuzz PARSER={parser} SEED={seed} FROM={from} INPUTS={inputs}")
}

/// Nothing here is worth its time if it does not see what it looks for.
#[test]
fn a_parser_that_panics_lies_or_takes_much_memory_is_seen() {
    let _alone = ALONE.lock();
    let of = |check: fn(&[u8]) -> Result<(), String>| Parser::new("none", |dice| vec![dice.roll(8) as u8], check);
    let mut fine = of(|_| Ok(()));
    assert_eq!((fine.fails(b"x"), greedy(&mut fine, 1, 0..3)), (None, None));
    let said = of(|input| panic!("{} bytes", input.len())).fails(b"x").unwrap();
    assert!(said.starts_with("it panicked"), "{said}");
    assert_eq!(of(|_| Err("it lies".into())).fails(b"x").unwrap(), "it lies");
    let mut large = of(|input| {
        let taken = vec![1_u8; if input == [3] { 256 << 20 } else { 1 }];
        std::hint::black_box(taken);
        Ok(())
    });
    let inputs: Vec<_> = (0..100).map(|number| large.input(7, number)).collect();
    let (_, number, why, input) = greedy(&mut large, 7, 0..100).unwrap();
    assert_eq!((inputs.iter().position(|input| *input == [3]), input), (Some(number as usize), vec![3]));
    // Not how much: the other test's memory may just be on its way back.
    assert!(why.starts_with("it took ") && why.ends_with(" MiB"), "{why}");
}
