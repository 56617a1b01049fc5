//! When a function is started, and for how long it may run.
//!
//! SCF's timer is a cron of seven fields: minutes that an hour does not divide by leave a shorter gap at each hour's end.

use tdmq_backup::Rule;
pub use tdmq_backup::ticks::{last_gap, timeout};

/// Whole minutes between ticks; `None` where the interval is none.
pub fn minutes(rule: &Rule) -> Option<u64> {
    let seconds = rule.interval.as_secs();
    seconds.is_multiple_of(60).then_some(seconds / 60)
}

/// SCF's cron: second, minute, hour, day, month, week, year.
pub fn cron(minutes: u64) -> String {
    format!("0 */{minutes} * * * * *")
}

/// What an interval that does not divide the hour means on SCF.
pub fn warning(minutes: u64) -> Option<String> {
    let gap = last_gap(minutes);
    (gap != minutes).then(|| {
        let ticks: Vec<String> = (0..60).step_by(minutes as usize).map(|minute| format!("{minute:02}")).collect();
        format!(
            "interval: 60 minutes are not a multiple of {minutes}: SCF starts runs at minutes {} of each hour, the last {gap} \
             minute{} before the next, and each run may take {} s: write 5m, 6m, 10m, 12m or 15m for even gaps",
            ticks.join(", "),
            if gap == 1 { "" } else { "s" },
            timeout(gap)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_counts_as_this_does() {
        let template = include_str!("../../../template.yaml");
        for minutes in 5..=15 {
            let (seconds, late) = (minutes * 180, minutes * 180_000);
            let line =
                format!("\n    \"{minutes}\": {{ Timeout: {}, Window: {seconds}, Late: {late} }}\n", timeout(minutes));
            assert!(template.contains(&line), "{line}");
        }
    }

    #[test]
    fn the_timeout_is_the_smallest_gap_less_15_seconds() {
        let table = [
            (5, 5, 285),
            (6, 6, 345),
            (7, 4, 225),
            (8, 4, 225),
            (9, 6, 345),
            (10, 10, 585),
            (11, 5, 285),
            (12, 12, 705),
            (13, 8, 465),
            (14, 4, 225),
            (15, 15, 885),
        ];
        for (minutes, gap, seconds) in table {
            assert_eq!((last_gap(minutes), timeout(last_gap(minutes))), (gap, seconds), "{minutes}");
            assert_eq!(warning(minutes).is_some(), [7, 8, 9, 11, 13, 14].contains(&minutes));
        }
        assert_eq!(timeout(16), 900);
        let warning = warning(13).unwrap();
        assert!(warning.contains("00, 13, 26, 39, 52 of each hour, the last 8 minutes before"), "{warning}");
        assert_eq!(cron(7), "0 */7 * * * * *");
    }
}
