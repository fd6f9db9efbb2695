//! Times in UTC as RFC 3339 texts. The `time` crate's own leave out what is zero, and so don't sort as the times do.

use time::OffsetDateTime;

/// In whole seconds, rounded down: `2030-01-31T12:00:00Z`.
pub(crate) fn seconds(time: OffsetDateTime) -> String {
    format!("{}Z", date_and_time(time))
}

/// In milliseconds, rounded down: `2030-01-31T12:00:00.000Z`.
pub(crate) fn milliseconds(time: OffsetDateTime) -> String {
    format!("{}.{:03}Z", date_and_time(time), time.millisecond())
}

fn date_and_time(time: OffsetDateTime) -> String {
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}", u8::from(month))
}
