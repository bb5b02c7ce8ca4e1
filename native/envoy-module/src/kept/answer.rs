//! An answer that was kept, and which ones may be (RFC 9111, section 3, of a cache that many users share).

use super::asked::{is_in_key, Asked};
use super::directives::{names, Directives};
use crate::stream::{Headers, Stream};
use std::mem::size_of;

/// Largest body that is kept.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// What a header block takes at first.
const USUAL_FIELDS_BYTES: usize = 512;
/// Largest header block that is kept.
const MAX_FIELDS_BYTES: usize = 8 * 1024;
/// What an answer costs beyond its bytes: its places in the maps, and what an allocation takes.
const OVERHEAD_BYTES: usize = 512;
const NS_OF_ONE_SECOND: u64 = 1_000_000_000;

/// Headers that are this router's or one connection's, and not the answer's: Envoy says them anew.
const DROPPED: [&[u8]; 12] = [
    b"age",
    b"alt-svc",
    b"connection",
    b"content-length",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-connection",
    b"server",
    b"strict-transport-security",
    b"transfer-encoding",
    b"upgrade",
    b"x-data-source",
];
const DROPPED_PREFIXES: [&[u8]; 3] = [b":", b"x-cell-", b"x-envoy-"];

/// What an answer's headers say, where it may be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// A line `name:value` each.
    fields: String,
    /// Whether it may be given to users other than the one who asked, also where cells know them.
    is_for_all: bool,
    /// How old it already was.
    age_s: u64,
    /// See [`Directives::longest_s`].
    longest_s: Option<u64>,
    /// How long the body is, where it is said.
    pub body_bytes: Option<usize>,
}

impl Head {
    /// Reads an answer's headers; None where it may not be kept, or is too large.
    pub fn of<S: Stream>(stream: &S, asked: &Asked) -> Option<Self> {
        let mut directives = Directives::default();
        let mut is_kept = asked.is_get && !asked.directives.no_store;
        let mut head = Self {
            fields: String::with_capacity(USUAL_FIELDS_BYTES),
            is_for_all: false,
            age_s: 0,
            longest_s: None,
            body_bytes: None,
        };
        let scanned = stream.scan(Headers::Response, |name, value| {
            let text = std::str::from_utf8(value).unwrap_or("");
            match name {
                b"cache-control" => directives.add(value),
                b"vary" => is_kept &= names(value).all(is_in_key),
                // A cookie is one user's, part of a body is not all of it, and events do not end.
                b"set-cookie" | b"content-range" | b"trailer" => is_kept = false,
                b"content-type" => is_kept &= !starts_with(value, b"text/event-stream"),
                // Names of headers that are the connection's alone.
                b"connection" => is_kept &= names(value).all(|name| starts_with(name, b"keep-alive")),
                b"age" => head.age_s = head.age_s.max(text.parse().unwrap_or(u64::MAX)),
                b"content-length" => {
                    head.body_bytes = text.parse().ok();
                    is_kept &= head.body_bytes.map_or(false, |bytes| bytes <= MAX_BODY_BYTES);
                }
                _ => {}
            }
            let is_dropped = DROPPED.contains(&name) || DROPPED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
            if is_dropped || !is_kept {
                return;
            }
            match std::str::from_utf8(name) {
                Ok(name) if text.len() == value.len() && !text.contains('\n') => {
                    for part in [name, ":", text, "\n"] {
                        head.fields.push_str(part);
                    }
                }
                _ => is_kept = false,
            }
            is_kept &= head.fields.len() <= MAX_FIELDS_BYTES;
        });
        head.is_for_all = directives.is_for_all();
        head.longest_s = directives.longest_s();
        let is_allowed = !directives.no_store && !directives.no_cache && !directives.private;
        let is_for_asker = head.is_for_all || !asked.knows_user;
        (scanned.is_ok() && is_kept && is_allowed && is_for_asker).then_some(head)
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.fields.len()
    }
}

/// Whose answer it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The cell's id.
    pub cell: Box<str>,
    /// The law that the cell is under.
    pub jurisdiction: Box<str>,
    /// When the request began, by the clock of this process.
    pub since_ns: u64,
}

/// An answer with 200 to a GET, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    origin: Origin,
    head: Head,
    body: Box<[u8]>,
}

impl Answer {
    /// An answer; None where its body has not come whole.
    pub fn new(origin: Origin, mut head: Head, body: Vec<u8>) -> Option<Self> {
        head.fields.shrink_to_fit();
        let is_whole = head.body_bytes.map_or(true, |bytes| bytes == body.len());
        is_whole.then(|| Self {
            origin,
            head,
            body: body.into_boxed_slice(),
        })
    }

    /// Whose it is.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Its body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Its headers: names and values.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.head.fields.lines().filter_map(|line| line.split_once(':'))
    }

    /// How old it is, in seconds.
    pub fn age_s(&self, now_ns: u64) -> u64 {
        let here_s = now_ns.saturating_sub(self.origin.since_ns) / NS_OF_ONE_SECOND;
        self.head.age_s.saturating_add(here_s)
    }

    /// Whether it may be given to whoever asks so, at an age of at most `longest_s`.
    pub fn is_for(&self, asked: &Asked, longest_s: u64, now_ns: u64) -> bool {
        let is_for_asker = self.head.is_for_all || !asked.knows_user;
        let longest_s = self.head.longest_s.map_or(longest_s, |own| own.min(longest_s));
        is_for_asker && !asked.directives.no_cache && self.age_s(now_ns) <= longest_s
    }

    /// Whether the asker has it already (RFC 9110, 13.1.2: by a weak comparison).
    pub fn is_known(&self, if_none_match: &[u8]) -> bool {
        let etag = self.fields().find(|(name, _)| *name == "etag");
        let opaque = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
        match etag {
            Some((_, etag)) => names(if_none_match).any(|tag| tag == b"*" || opaque(tag) == opaque(etag.as_bytes())),
            None => false,
        }
    }

    /// Bytes that it takes, with a key of so many.
    pub(super) fn cost_bytes(&self, key_bytes: usize) -> usize {
        let texts = self.head.bytes() + self.origin.cell.len() + self.origin.jurisdiction.len();
        size_of::<Self>() + OVERHEAD_BYTES + key_bytes + texts + self.body.len()
    }
}

fn starts_with(value: &[u8], beginning: &[u8]) -> bool {
    value
        .get(..beginning.len())
        .map_or(false, |start| start.eq_ignore_ascii_case(beginning))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::support::FakeStream;

    const SECOND: u64 = NS_OF_ONE_SECOND;

    fn asked(headers: &[(&str, &str)]) -> Asked {
        Asked::of(&FakeStream::new("GET", headers), &[], b"a").unwrap()
    }

    fn head_for(asked: &Asked, headers: &[(&str, &str)]) -> Option<Head> {
        let mut stream = FakeStream::new("GET", &[]);
        stream.response_headers = headers
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect();
        Head::of(&stream, asked)
    }

    fn head(headers: &[(&str, &str)]) -> Option<Head> {
        head_for(&asked(&[]), headers)
    }

    /// An answer of `cell-1` with these headers and this body.
    pub(in crate::kept) fn answer(headers: &[(&str, &str)], body: &[u8], since_ns: u64) -> Answer {
        let origin = Origin {
            cell: "cell-1".into(),
            jurisdiction: "eu".into(),
            since_ns,
        };
        Answer::new(origin, head(headers).unwrap(), body.to_vec()).unwrap()
    }

    #[test]
    fn an_answer_to_a_user_is_kept_only_where_it_says_that_it_is_for_all() {
        for header in ["authorization", "cookie", "x-api-key"] {
            let asked = asked(&[(header, "secret")]);
            for (said, is_kept) in [
                (None, false),
                (Some("max-age=60"), false),
                (Some("must-revalidate"), false),
                (Some("public"), true),
                (Some("s-maxage=60"), true),
                (Some("public, private"), false),
                (Some("public, no-store"), false),
            ] {
                let headers: Vec<_> = said.map(|said| ("cache-control", said)).into_iter().collect();
                assert_eq!(head_for(&asked, &headers).is_some(), is_kept, "{header}: {said:?}");
            }
        }
    }

    #[test]
    fn what_may_not_be_kept_is_not() {
        for headers in [
            [("cache-control", "no-store")],
            [("cache-control", "private")],
            [("cache-control", "private=\"x-user\"")],
            [("cache-control", "no-cache")],
            [("set-cookie", "a=b")],
            [("vary", "*")],
            [("vary", "accept, Cookie")],
            [("vary", "user-agent")],
            [("content-type", "Text/Event-Stream; charset=utf-8")],
            [("content-range", "bytes 0-1/2")],
            [("content-length", "65537")],
            [("content-length", "x")],
            [("connection", "x-secret")],
            [("trailer", "x")],
            [("etag", "a\nb")],
        ] {
            assert_eq!(head(&headers), None, "{headers:?}");
        }
        let large = "a".repeat(MAX_FIELDS_BYTES);
        assert_eq!(head(&[("etag", large.as_str())]), None);
        for headers in [
            [("vary", "Accept-Encoding, accept,Origin")],
            [("vary", "X-Tenant-Id")],
            [("content-length", "65536")],
            [("cache-control", "max-age=0")],
            [("connection", "Keep-Alive")],
            [("content-type", "application/json")],
        ] {
            assert!(head(&headers).is_some(), "{headers:?}");
        }
        assert_eq!(head_for(&asked(&[("cache-control", "no-store")]), &[]), None);
        let mut other = asked(&[]);
        other.is_get = false;
        assert_eq!(head_for(&other, &[]), None);
    }

    #[test]
    fn headers_of_the_answer_are_kept_and_those_of_the_way_are_not() {
        let headers = [
            ("content-type", "text/plain"),
            ("age", "7"),
            ("link", "</a>; rel=x:y"),
            ("link", "</b>"),
            ("x-cell-id", "cell-9"),
            ("x-envoy-upstream-service-time", "1"),
            ("transfer-encoding", "chunked"),
            ("strict-transport-security", "max-age=1"),
            ("content-length", "2"),
        ];
        let found = answer(&headers, b"ab", 0);
        let expected = [
            ("content-type", "text/plain"),
            ("link", "</a>; rel=x:y"),
            ("link", "</b>"),
        ];
        assert_eq!(found.fields().collect::<Vec<_>>(), expected);
        assert_eq!(found.age_s(3 * SECOND), 10);
    }

    #[test]
    fn an_answer_is_given_until_the_policy_or_it_itself_says_no() {
        let asked = asked(&[]);
        let longest = |said: &str| {
            let found = answer(&[("cache-control", said)], b"", 0);
            (0..200).take_while(|s| found.is_for(&asked, 100, s * SECOND)).last()
        };
        assert_eq!(longest("max-age=1"), Some(100));
        assert_eq!(longest("max-age=10, stale-if-error=20"), Some(30));
        assert_eq!(longest("stale-if-error=900"), Some(100));
        assert_eq!(longest("max-age=10, must-revalidate"), Some(10));
        assert_eq!(longest("must-revalidate"), Some(0));
        let old = answer(&[("age", "101")], b"", 0);
        assert!(!old.is_for(&asked, 100, 0));
        assert!(!answer(&[("age", "-1")], b"", 0).is_for(&asked, 100, 0));
    }

    #[test]
    fn a_user_gets_only_what_is_for_all_and_nobody_what_they_do_not_want() {
        let plain = answer(&[], b"", 0);
        let public = answer(&[("cache-control", "public")], b"", 0);
        let user = asked(&[("authorization", "Bearer a")]);
        let picky = asked(&[("cache-control", "no-cache")]);
        let given =
            [&plain, &public].map(|answer| [&asked(&[]), &user, &picky].map(|asked| answer.is_for(asked, 9, 0)));
        assert_eq!(given, [[true, false, false], [true, true, false]]);
    }

    #[test]
    fn a_body_that_has_not_come_whole_is_no_answer() {
        let origin = answer(&[], b"", 0).origin;
        let head = head(&[("content-length", "3")]).unwrap();
        assert!(Answer::new(origin.clone(), head.clone(), b"ab".to_vec()).is_none());
        assert!(Answer::new(origin, head, b"abc".to_vec()).is_some());
    }

    #[test]
    fn who_has_the_answer_already_is_known_by_its_tag() {
        let tagged = answer(&[("etag", "W/\"a\"")], b"", 0);
        for (tags, expected) in [
            (&b"\"a\""[..], true),
            (b"\"b\", W/\"a\"", true),
            (b"*", true),
            (b"\"b\"", false),
            (b"", false),
        ] {
            assert_eq!(tagged.is_known(tags), expected);
            assert!(!answer(&[], b"", 0).is_known(tags));
        }
    }
}
