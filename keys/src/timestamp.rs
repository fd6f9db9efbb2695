//! Times in UTC as RFC 3339 text of fixed length, so that the texts sort as the times do.

use time::{OffsetDateTime, UtcOffset};

/// In whole seconds, rounded down: `2030-01-31T12:00:00Z`.
pub fn seconds(time: OffsetDateTime) -> String {
    format!("{}Z", without_zone(time))
}

/// In milliseconds, rounded down: `2030-01-31T12:00:00.000Z`.
pub fn milliseconds(time: OffsetDateTime) -> String {
    format!("{}.{:03}Z", without_zone(time), time.millisecond())
}

/// Not `OffsetDateTime::format`, which can fail.
fn without_zone(time: OffsetDateTime) -> String {
    let time = time.to_offset(UtcOffset::UTC);
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    let month = u8::from(month);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}
