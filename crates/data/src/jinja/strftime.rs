//! `strftime_now`: the date in a template, in UTC with English names, as Python formats it.

/// Formats a time with Python's codes. A code that is not known is an error: its text would differ
/// from transformers'.
pub(super) fn strftime(format: &str, secs: u64) -> Result<String, String> {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const DAYS: [&str; 7] = [
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
    ];
    let days = secs / 86_400;
    let (year, month, day) = civil(days);
    let (month_name, day_name) = (MONTHS[month - 1], DAYS[(days % 7) as usize]);
    let (hour, minute, second) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
    let (month, half_hour) = (month as u64, (hour + 11) % 12 + 1);
    let year_day = days - first_day(year) + 1;
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let mut code = chars.next();
        // glibc's flag: without leading zeros
        let bare = code == Some('-');
        if bare {
            code = chars.next();
        }
        let mut number = |n: u64, width: usize| match bare {
            true => text += &n.to_string(),
            false => text += &format!("{n:0width$}"),
        };
        match code {
            Some('Y') => number(year, 4),
            Some('y') => number(year % 100, 2),
            Some('m') => number(month, 2),
            Some('d') => number(day, 2),
            Some('H') => number(hour, 2),
            Some('I') => number(half_hour, 2),
            Some('M') => number(minute, 2),
            Some('S') => number(second, 2),
            Some('j') => number(year_day, 3),
            Some('e') if !bare => text += &format!("{day:2}"),
            Some('B') if !bare => text += month_name,
            Some('b' | 'h') if !bare => text += &month_name[..3],
            Some('A') if !bare => text += day_name,
            Some('a') if !bare => text += &day_name[..3],
            Some('p') if !bare => text += if hour < 12 { "AM" } else { "PM" },
            Some('F') if !bare => text += &format!("{year:04}-{month:02}-{day:02}"),
            Some('T') if !bare => text += &format!("{hour:02}:{minute:02}:{second:02}"),
            Some('R') if !bare => text += &format!("{hour:02}:{minute:02}"),
            Some('%') if !bare => text.push('%'),
            other => {
                let flag = if bare { "-" } else { "" };
                let code = other.map(String::from).unwrap_or_default();
                return Err(format!("strftime_now: the code %{flag}{code} is not known"));
            }
        }
    }
    Ok(text)
}

/// The first of January of a year, in days from 1970-01-01.
fn first_day(year: u64) -> u64 {
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969)
}

/// Year, month 1..=12 and day 1..=31 of a day counted from 1970-01-01 (H. Hinnant,
/// `civil_from_days`).
fn civil(days: u64) -> (u64, usize, u64) {
    let z = days + 719_468;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * day_of_year + 2) / 153;
    let month = if m < 10 { m + 3 } else { m - 9 };
    let year = z / 146_097 * 400 + year_of_era + u64::from(month <= 2);
    (year, month as usize, day_of_year - (153 * m + 2) / 5 + 1)
}
