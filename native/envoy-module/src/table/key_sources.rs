//! Where a request's partition key stands: the entries of KEY_SOURCES.

use super::directory::Section;
use super::error::TableError;
use super::fields::key_source;
use super::strings::{is_label, text_at};
use crate::xxh32::xxh32;
use std::ops::RangeInclusive;

/// Most sources of a table.
pub const MAX_KEY_SOURCES: usize = 8;

const SOURCES: RangeInclusive<usize> = 1..=MAX_KEY_SOURCES;
const MAX_HEADER_BYTES: usize = 63;
/// Longest domain or prefix: that of a DNS name.
const MAX_NAME_BYTES: usize = 253;

const MAX_CLAIM_BYTES: usize = 128;
const MAX_COOKIE_BYTES: usize = 64;
/// What a header begins with in which the proxy hands over a claim; the hash of its name follows, so that tables of
/// different claims never mean different ones by the same header.
const CLAIM_PREFIX: &str = "x-cell-claim-";

/// What a source reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySourceKind {
    /// A header.
    Header,
    /// The first label of the host.
    Subdomain,
    /// A segment of the path.
    Path,
    /// A claim of a verified token.
    Claim,
    /// A signed cookie.
    Cookie,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource {
    /// What it reads.
    pub kind: KeySourceKind,
    /// The header's name in lower case, the domain behind the label, what the path begins with, or the name of the claim
    /// or cookie.
    pub name: Vec<u8>,
    /// Of a header, its name; of a claim, the header in which the proxy hands it over. Else empty.
    pub header: Vec<u8>,
}

impl KeySource {
    /// A source of a checked name.
    pub fn new(kind: KeySourceKind, name: &str) -> Self {
        let header = match kind {
            KeySourceKind::Header => name.into(),
            KeySourceKind::Claim => format!("{CLAIM_PREFIX}{:08x}", xxh32(name.as_bytes())).into(),
            KeySourceKind::Subdomain | KeySourceKind::Path | KeySourceKind::Cookie => Vec::new(),
        };
        Self {
            kind,
            name: name.into(),
            header,
        }
    }
}

impl KeySourceKind {
    fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Header),
            2 => Some(Self::Subdomain),
            3 => Some(Self::Path),
            4 => Some(Self::Claim),
            5 => Some(Self::Cookie),
            _ => None,
        }
    }

    fn allows(self, name: &str) -> bool {
        let is_short = name.len() <= MAX_NAME_BYTES;
        match self {
            Self::Header => is_header(name),
            Self::Subdomain => is_short && name.split('.').all(is_label),
            Self::Path => is_short && is_path(name),
            Self::Claim => is_claim(name),
            Self::Cookie => is_token(name, MAX_COOKIE_BYTES, b"_-."),
        }
    }

    fn expected_name(self) -> &'static str {
        match self {
            Self::Header => "a header's name in lower case",
            Self::Subdomain => "a domain in lower case, such as example.com",
            Self::Path => "a path from / to /, such as /t/",
            Self::Claim => "a claim's name",
            Self::Cookie => "a cookie's name",
        }
    }
}

/// Reads and checks all sources.
pub(super) fn read_key_sources(file: &[u8], strings: Section, sources: Section) -> Result<Vec<KeySource>, TableError> {
    if !SOURCES.contains(&sources.count) {
        return Err(TableError::new("KEY_SOURCES", "1 to 8 entries", sources.count));
    }
    let read = |(place, entry): (usize, &[u8])| {
        let kind = KeySourceKind::of(entry[key_source::KIND]).ok_or_else(|| {
            let found = entry[key_source::KIND];
            TableError::new(format!("KEY_SOURCES[{place}].kind"), "1 to 5", found)
        })?;
        let name_place = || format!("KEY_SOURCES[{place}].name");
        let name = text_at(strings.bytes(file), entry, key_source::NAME, name_place)?;
        if !kind.allows(name) {
            return Err(TableError::new(name_place(), kind.expected_name(), format!("{name:?}")));
        }
        Ok(KeySource::new(kind, name))
    };
    sources.entries(file).enumerate().map(read).collect()
}

fn is_header(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let first_is_plain = bytes.first().map_or(false, |first| plain(*first));
    first_is_plain && bytes.len() <= MAX_HEADER_BYTES && bytes.iter().all(|byte| plain(*byte) || *byte == b'-')
}

fn is_claim(name: &str) -> bool {
    is_token(name, MAX_CLAIM_BYTES, b"_-:.") && name.split('.').all(|step| !step.is_empty())
}

fn is_token(name: &str, max_bytes: usize, marks: &[u8]) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || marks.contains(&byte);
    (1..=max_bytes).contains(&name.len()) && name.bytes().all(allowed)
}

fn is_path(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    name.starts_with('/') && name.ends_with('/') && name.bytes().all(allowed)
}
