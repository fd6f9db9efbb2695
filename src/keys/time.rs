//! Times in UTC as RFC 3339 text of fixed length, so that the texts sort as the times do.

use ::time::format_description::BorrowedFormatItem;
use ::time::macros::format_description;
use ::time::{OffsetDateTime, UtcOffset};

const SECONDS: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
const MILLISECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// In whole seconds, rounded down: `2030-01-31T12:00:00Z`.
pub(crate) fn seconds(time: OffsetDateTime) -> String {
    format(time, SECONDS)
}

/// In milliseconds, rounded down: `2030-01-31T12:00:00.000Z`.
pub(crate) fn milliseconds(time: OffsetDateTime) -> String {
    format(time, MILLISECONDS)
}

fn format(time: OffsetDateTime, description: &[BorrowedFormatItem<'_>]) -> String {
    // The formatter fails only if the description asks for a component that the time lacks. It has all of them.
    time.to_offset(UtcOffset::UTC).format(description).unwrap_or_default()
}
