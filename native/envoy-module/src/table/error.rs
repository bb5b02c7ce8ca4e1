//! Why a file is refused as a routing table.

use std::fmt;

/// A refusal of a whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableError {
    /// Where: a field of the header, a section, or an entry's field.
    place: String,
    expected: String,
    found: String,
}

impl TableError {
    /// An error at `place`, with what was expected there and what was found.
    pub(super) fn new(place: impl fmt::Display, expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self {
            place: place.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, expected, found } = self;
        write!(out, "{place}: expected {expected}, found {found}")
    }
}

impl std::error::Error for TableError {}

/// What an index may be.
pub(super) fn below(limit: usize) -> String {
    format!("less than {limit}")
}
