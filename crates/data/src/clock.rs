//! The time that chat templates print (`strftime_now`). A run freezes it when it begins, so its
//! prompts stay the same on every later day.

use crate::{Error, Result};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The current time, RFC 3339 in UTC, to the second. `SOURCE_DATE_EPOCH` (seconds since 1970), the
/// convention of reproducible builds, takes its place.
pub fn template_now() -> String {
    let given = std::env::var("SOURCE_DATE_EPOCH").ok();
    let given = given.and_then(|secs| secs.trim().parse().ok());
    let time = given.map_or_else(SystemTime::now, |secs: u32| {
        UNIX_EPOCH + Duration::from_secs(secs.into())
    });
    run::rfc3339(time)
}

/// Seconds since 1970 of `2026-11-30` or `2026-11-30T19:31:14Z`.
///
/// ```
/// assert_eq!(data::template_time("2025-03-09T07:05:00Z")?, 1_741_503_900);
/// assert_eq!(data::template_time("1970-01-02")?, 86_400);
/// assert!(data::template_time("30 Nov 2026").is_err());
/// # Ok::<(), data::Error>(())
/// ```
pub fn template_time(text: &str) -> Result<u64> {
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let numbers = |text: &str, by: char| -> Option<[u64; 3]> {
        let parts: Vec<&str> = text.split(by).collect();
        let digits = |part: &&str| part.bytes().all(|b| b.is_ascii_digit());
        let parts = parts.iter().filter(|part| digits(part));
        let parts: Vec<u64> = parts.filter_map(|part| part.parse().ok()).collect();
        parts.try_into().ok()
    };
    let date = (date.len() == 10).then(|| numbers(date, '-')).flatten();
    let time = time.strip_suffix('Z').filter(|time| time.len() == 8);
    let time = time.and_then(|time| numbers(time, ':'));
    let secs = date.zip(time).and_then(|(date, time)| secs_of(date, time));
    secs.ok_or_else(|| {
        Error(format!(
            "template_date \"{text}\" is not a date; write 2026-11-30 or 2026-11-30T19:31:14Z"
        ))
    })
}

fn secs_of([year, month, day]: [u64; 3], [hour, minute, second]: [u64; 3]) -> Option<u64> {
    let valid = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    // days_from_civil in H. Hinnant, "chrono-compatible low-level date algorithms"
    let years = if month <= 2 {
        year.checked_sub(1)?
    } else {
        year
    };
    let march_month = (month + 9) % 12;
    let days = years * 365 + years / 4 - years / 100 + years / 400 + (153 * march_month + 2) / 5;
    let days = (days + day).checked_sub(719_469)?;
    let secs = days * 86_400 + hour * 3600 + minute * 60 + second;
    // A day beyond the end of its month would print as another.
    let shown = run::rfc3339(UNIX_EPOCH + Duration::from_secs(secs));
    let same = shown.starts_with(&format!("{year:04}-{month:02}-{day:02}"));
    (valid && same).then_some(secs)
}
