//! What a request says about answers that were kept: which one it would get, and whether it may.

use super::directives::Directives;
use crate::filter::TENANT_ID;
use crate::stream::{Headers, Stream};
use crate::table::{KeySource, KeySourceKind};

/// What a key takes at first.
const USUAL_KEY_BYTES: usize = 256;
/// Longest key of an answer.
const MAX_KEY_BYTES: usize = 4096;

/// The request headers that choose between representations, and that `Vary` may so name.
const CHOOSING: [&[u8]; 4] = [b"accept", b"accept-encoding", b"accept-language", b"origin"];

/// Headers by which no cell knows who asks. Every other one might be a user's, such as an API key.
const ANONYMOUS: [&[u8]; 33] = [
    b"accept",
    b"accept-charset",
    b"accept-encoding",
    b"accept-language",
    b"baggage",
    b"cache-control",
    b"connection",
    b"content-length",
    b"content-type",
    b"dnt",
    b"forwarded",
    b"host",
    b"if-modified-since",
    b"if-none-match",
    b"keep-alive",
    b"origin",
    b"pragma",
    b"priority",
    b"range",
    b"referer",
    b"save-data",
    b"sec-gpc",
    b"te",
    b"traceparent",
    b"tracestate",
    b"upgrade-insecure-requests",
    b"user-agent",
    b"via",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-proto",
    b"x-request-id",
];
/// The same by how they begin: pseudo-headers, hints of browsers, and what routers say.
const ANONYMOUS_PREFIXES: [&[u8]; 5] = [b":", b"sec-ch-", b"sec-fetch-", b"x-cell-", b"x-envoy-"];

/// By what an answer is found among those of its tenant. It begins with the path without its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerKey {
    bytes: Vec<u8>,
    path_end: usize,
}

impl AnswerKey {
    /// All of it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the keys of all answers of this path begin with, and no other.
    pub fn path(&self) -> &[u8] {
        &self.bytes[..self.path_end]
    }
}

/// What a request says.
#[derive(Debug)]
pub struct Asked {
    /// Its answer's.
    pub key: AnswerKey,
    /// Whether it is a GET, whose answer may be kept.
    pub is_get: bool,
    /// Whether it is a HEAD, which a kept answer to a GET answers, too.
    pub is_head: bool,
    /// Whether it has a header by which a cell may know who asks.
    pub knows_user: bool,
    /// What it says of caches.
    pub directives: Directives,
    /// `If-None-Match`; empty where there is none.
    pub if_none_match: Vec<u8>,
}

impl Asked {
    /// Reads a request's headers; None where its key would be too long, or where it is gRPC.
    ///
    /// Args: `tenant` is the request's partition key, and `sources` is where such may stand.
    pub fn of<S: Stream>(stream: &S, sources: &[KeySource], tenant: &[u8]) -> Option<Self> {
        let (mut path, mut scheme, mut authority) = (&b""[..], &b""[..], &b""[..]);
        let mut choosing: [Option<Vec<u8>>; CHOOSING.len()] = Default::default();
        let (mut is_get, mut is_head, mut is_grpc, mut knows_user) = (false, false, false, false);
        let mut directives = Directives::default();
        let mut if_none_match = Vec::new();
        let scanned = stream.scan(Headers::Request, |name, value| {
            if let Some(place) = CHOOSING.iter().position(|chosen| *chosen == name) {
                append(choosing[place].get_or_insert_with(Vec::new), value);
            }
            match name {
                b":method" => (is_get, is_head) = (value == b"GET", value == b"HEAD"),
                b":path" => path = value,
                b":scheme" => scheme = value,
                b":authority" => authority = value,
                b"cache-control" => directives.add(value),
                // What clients of HTTP/1.0 say (RFC 9111, 5.4).
                b"pragma" => directives.add(value),
                b"if-none-match" => append(&mut if_none_match, value),
                b"content-type" => is_grpc |= value.starts_with(b"application/grpc"),
                _ => {}
            }
            knows_user |= !is_anonymous(name) && !names_tenant(name, value, sources, tenant);
        });
        let path_end = path.iter().position(|byte| *byte == b'?').unwrap_or(path.len());
        let (path, query) = path.split_at(path_end);
        let mut bytes = Vec::with_capacity(USUAL_KEY_BYTES);
        push(&mut bytes, Some(path));
        let path_end = bytes.len();
        for part in [query, scheme, authority.to_ascii_lowercase().as_slice()] {
            push(&mut bytes, Some(part));
        }
        for value in &choosing {
            push(&mut bytes, value.as_deref());
        }
        let is_known = scanned.is_ok() && !is_grpc && bytes.len() <= MAX_KEY_BYTES;
        is_known.then_some(Self {
            key: AnswerKey { bytes, path_end },
            is_get,
            is_head,
            knows_user,
            directives,
            if_none_match,
        })
    }
}

/// Whether requests that differ in a header have keys that differ: then an answer may vary by it.
pub(super) fn is_in_key(name: &[u8]) -> bool {
    CHOOSING.iter().any(|chosen| chosen.eq_ignore_ascii_case(name)) || name.eq_ignore_ascii_case(TENANT_ID)
}

fn is_anonymous(name: &[u8]) -> bool {
    ANONYMOUS.binary_search(&name).is_ok() || ANONYMOUS_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a header says whose request it is, which the key of an answer says too. What a client says as `x-tenant-id`
/// reaches no cell.
fn names_tenant(name: &[u8], value: &[u8], sources: &[KeySource], tenant: &[u8]) -> bool {
    name == TENANT_ID
        || value == tenant
            && sources
                .iter()
                .any(|source| source.kind == KeySourceKind::Header && source.header == name)
}

/// Adds one more value of a header (RFC 9110, 5.3).
fn append(joined: &mut Vec<u8>, value: &[u8]) {
    if !joined.is_empty() {
        joined.extend(b", ");
    }
    joined.extend(value);
}

/// Adds a part with its length, so that no two keys of different parts are equal, nor one the beginning of another.
fn push(key: &mut Vec<u8>, part: Option<&[u8]>) {
    let length = part.map_or(u32::MAX, |part| part.len() as u32);
    key.extend(length.to_be_bytes());
    key.extend(part.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::FakeStream;

    fn asked_at(method: &str, path: &str, headers: &[(&str, &str)]) -> Asked {
        let mut stream = FakeStream::new(method, headers);
        stream.set(Headers::Request, b":path", path.as_bytes());
        Asked::of(&stream, &[], b"a").unwrap()
    }

    fn asked(headers: &[(&str, &str)]) -> Asked {
        asked_at("GET", "/x", headers)
    }

    #[test]
    fn the_lists_are_sorted() {
        assert!(ANONYMOUS.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn keys_differ_where_answers_may() {
        let requests = [
            asked(&[]),
            asked_at("GET", "/x?", &[]),
            asked_at("GET", "/x?a=1", &[]),
            asked_at("GET", "/x?a=1&b", &[]),
            asked_at("GET", "/X", &[]),
            asked_at("GET", "/x/", &[]),
            asked(&[("accept", "")]),
            asked(&[("accept", "a")]),
            asked(&[("accept", "a, b")]),
            asked(&[("accept-encoding", "a")]),
            asked(&[("accept-language", "a")]),
            asked(&[("origin", "a")]),
            asked(&[(":scheme", "https")]),
        ];
        for (place, one) in requests.iter().enumerate() {
            for other in &requests[..place] {
                assert_ne!(one.key.as_bytes(), other.key.as_bytes());
            }
        }
        let same = asked(&[("accept", "a"), ("user-agent", "x"), ("accept", "b")]);
        assert_eq!(same.key, asked(&[("accept", "a, b")]).key);
    }

    #[test]
    fn keys_of_one_path_begin_alike_and_no_others_do() {
        let of = |path: &str| asked_at("GET", path, &[]).key;
        assert_eq!(of("/x").path(), of("/x?a=1").path());
        assert!(of("/x?a=1").as_bytes().starts_with(of("/x").path()));
        for other in ["/x/y", "/xy", "/", "/x%3f"] {
            assert!(!of(other).as_bytes().starts_with(of("/x").path()), "{other}");
        }
    }

    #[test]
    fn whatever_a_cell_may_know_a_user_by_counts() {
        for anonymous in [
            "user-agent",
            "x-forwarded-for",
            "sec-fetch-mode",
            "x-cell-id",
            "x-tenant-id",
        ] {
            assert!(!asked(&[(anonymous, "1")]).knows_user, "{anonymous}");
        }
        for known in [
            "authorization",
            "cookie",
            "x-api-key",
            "x-forwarded-user",
            "x-forwarded-client-cert",
            "from",
            "x-user",
            "proxy-authorization",
            "accepted",
        ] {
            assert!(asked(&[(known, "1")]).knows_user, "{known}");
        }
    }

    #[test]
    fn the_header_of_the_key_says_nothing_of_a_user_and_another_value_in_it_does() {
        let source = KeySource {
            kind: KeySourceKind::Header,
            name: b"x-org".to_vec(),
            header: b"x-org".to_vec(),
        };
        let knows_user = |value: &str| {
            let stream = FakeStream::new("GET", &[("x-org", value)]);
            Asked::of(&stream, std::slice::from_ref(&source), b"acme")
                .unwrap()
                .knows_user
        };
        assert!(!knows_user("acme"));
        assert!(knows_user("other"));
    }

    #[test]
    fn a_request_says_what_it_wants_of_caches() {
        let found = asked(&[
            ("pragma", "no-cache"),
            ("if-none-match", "\"a\""),
            ("if-none-match", "\"b\""),
        ]);
        assert!(found.directives.no_cache);
        assert_eq!(found.if_none_match, b"\"a\", \"b\"");
        assert!(asked(&[("cache-control", "no-store")]).directives.no_store);
        assert!(asked_at("HEAD", "/x", &[]).is_head);
    }

    #[test]
    fn what_is_too_long_or_no_plain_http_has_no_key() {
        let long = "a".repeat(MAX_KEY_BYTES);
        for header in [("accept", long.as_str()), ("content-type", "application/grpc+proto")] {
            let stream = FakeStream::new("GET", &[header]);
            assert!(Asked::of(&stream, &[], b"a").is_none(), "{}", header.0);
        }
    }
}
