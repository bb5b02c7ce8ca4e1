//! The partition key: what a request says about whom it is for.

use crate::cookie::{Keyring, Said, Signers};
use crate::problem::{Code, Refusal};
use crate::table::{KeySource, KeySourceKind, MAX_KEY_SOURCES};

/// `Cookie` headers that are looked at. HTTP/2 clients may send several, which Envoy joins.
const MAX_COOKIE_HEADERS: usize = 4;

/// Longest partition key, in bytes.
pub const MAX_KEY_BYTES: usize = 128;

/// Whether these bytes are a key. Nothing is decoded first: `%41` is not `A`.
pub fn is_key(value: &[u8]) -> bool {
    let first_is_plain = match value.first() {
        Some(first) => first.is_ascii_alphanumeric(),
        None => false,
    };
    let rest_is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:@|+=~-".contains(byte);
    first_is_plain && value.len() <= MAX_KEY_BYTES && value.iter().all(rest_is_allowed)
}

/// Whether these bytes are a host with or without a port (RFC 9110, 4.2.3; RFC 3986, 3.2.2), or nothing. A user before the host
/// is none (RFC 9113, 8.3.1). Nor is a comma: Envoy joins two `Host` headers by one, which RFC 9112, 3.2 has refused.
pub fn is_host(authority: &[u8]) -> bool {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%:[]!$&'()*+;=".contains(byte);
    authority.iter().all(is_allowed)
}

/// A valid key, copied out of the request, so that the request's headers may change.
#[derive(Clone, Copy)]
pub struct PartitionKey {
    bytes: [u8; MAX_KEY_BYTES],
    length: usize,
    signers: Signers,
}

impl PartitionKey {
    /// The key, or None where these bytes are none.
    pub fn new(value: &[u8]) -> Option<Self> {
        if !is_key(value) {
            return None;
        }
        let mut bytes = [0; MAX_KEY_BYTES];
        bytes[..value.len()].copy_from_slice(value);
        Some(Self {
            bytes,
            length: value.len(),
            signers: Signers::default(),
        })
    }

    /// Whose keys signed the cookies that say it; nobody's where it comes from elsewhere.
    pub fn signers(&self) -> Signers {
        self.signers
    }

    /// The same key, its letters in lower case.
    fn in_lower_case(mut self) -> Self {
        self.bytes.make_ascii_lowercase();
        self
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// What a scan over a request's headers saw of one header.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeaderValues<'a> {
    /// How many there are.
    pub count: usize,
    /// The first, empty where there is none.
    pub first: &'a [u8],
}

impl<'a> HeaderValues<'a> {
    /// Adds a value.
    pub fn add(&mut self, value: &'a [u8]) {
        if self.count == 0 {
            self.first = value;
        }
        self.count += 1;
    }
}

/// What a scan over a request's headers saw of the places where its key may stand.
#[derive(Debug)]
pub struct KeyValues<'a> {
    sources: &'a [KeySource],
    /// Of the sources that come in a header, by their place.
    headers: [HeaderValues<'a>; MAX_KEY_SOURCES],
    cookies: [&'a [u8]; MAX_COOKIE_HEADERS],
    cookie_count: usize,
    authority: &'a [u8],
    path: &'a [u8],
}

impl<'a> KeyValues<'a> {
    /// Nothing seen yet; at most [`MAX_KEY_SOURCES`] sources.
    pub fn new(sources: &'a [KeySource]) -> Self {
        Self {
            sources,
            headers: Default::default(),
            cookies: Default::default(),
            cookie_count: 0,
            authority: b"",
            path: b"",
        }
    }

    /// Adds a header or pseudo-header of the request.
    pub fn add(&mut self, name: &[u8], value: &'a [u8]) {
        match name {
            b":authority" => self.authority = value,
            b":path" => self.path = value,
            b"cookie" => {
                if let Some(place) = self.cookies.get_mut(self.cookie_count) {
                    *place = value;
                    self.cookie_count += 1;
                }
            }
            _ => {}
        }
        for (source, values) in self.sources.iter().zip(&mut self.headers) {
            if source.header == name {
                values.add(value);
            }
        }
    }

    /// The key of the first source that has a value; None where none has.
    ///
    /// # Errors
    ///
    /// The value is not a key, or a source that was asked has more than one.
    pub fn key(&self, seals: Seals) -> Result<Option<PartitionKey>, Refusal> {
        for (source, header) in self.sources.iter().zip(&self.headers) {
            let mut signers = Signers::default();
            let value = match source.kind {
                KeySourceKind::Header | KeySourceKind::Claim if header.count > 1 => {
                    return Err(Code::AmbiguousKey.into())
                }
                KeySourceKind::Header | KeySourceKind::Claim => header.first,
                KeySourceKind::Subdomain => first_label(self.authority, &source.name),
                KeySourceKind::Path => segment_behind(self.path, &source.name),
                KeySourceKind::Cookie => match self.cookie(&source.name, seals)? {
                    Some(said) => {
                        signers = said.signers;
                        said.tenant
                    }
                    None => b"",
                },
            };
            if !value.is_empty() {
                let key = PartitionKey::new(value).ok_or(Code::InvalidKey)?;
                let key = PartitionKey { signers, ..key };
                let is_of_host = source.kind == KeySourceKind::Subdomain;
                return Ok(Some(if is_of_host { key.in_lower_case() } else { key }));
            }
        }
        Ok(None)
    }

    /// What the valid cookies of this name say; None where there is none.
    fn cookie(&self, name: &'a [u8], seals: Seals) -> Result<Option<Said<'_>>, Refusal> {
        let headers = &self.cookies[..self.cookie_count];
        match seals.keys {
            Some(keys) if !headers.is_empty() => {
                let said = keys.tenant(name, headers.iter().copied(), (seals.now)());
                Ok(said.map_err(|_| Code::AmbiguousKey)?)
            }
            _ => Ok(None),
        }
    }
}

/// By what signed cookies are verified.
#[derive(Clone, Copy)]
pub struct Seals<'a> {
    /// The router's keys; without any, no cookie counts.
    pub keys: Option<&'a Keyring>,
    /// Unix seconds.
    pub now: &'a dyn Fn() -> u64,
}

impl Seals<'static> {
    /// Without keys.
    pub const NONE: Self = Self {
        keys: None,
        now: &|| u64::MAX,
    };
}

/// The first label of a host that is one label, a dot and `domain`; else nothing. The host may have a port and a dot at
/// its end, and its case does not count; `domain` is in lower case.
fn first_label<'a>(authority: &'a [u8], domain: &[u8]) -> &'a [u8] {
    let host = host_of(authority);
    let host = host.strip_suffix(b".").unwrap_or(host);
    let end = host.iter().position(|byte| *byte == b'.').unwrap_or(host.len());
    let (label, rest) = host.split_at(end);
    match rest.split_first() {
        Some((_dot, rest)) if rest.eq_ignore_ascii_case(domain) => label,
        _ => b"",
    }
}

/// What stands in front of the last colon, where only digits follow it.
fn host_of(authority: &[u8]) -> &[u8] {
    match authority.iter().rposition(|byte| *byte == b':') {
        Some(colon) => match &authority[colon + 1..] {
            [] => authority,
            port if port.iter().all(u8::is_ascii_digit) => &authority[..colon],
            _ => authority,
        },
        None => authority,
    }
}

/// What follows `prefix`, up to the next segment, the query or the end; nothing where the path begins otherwise.
fn segment_behind<'a>(path: &'a [u8], prefix: &[u8]) -> &'a [u8] {
    let following = path.strip_prefix(prefix).unwrap_or(b"");
    let end = following.iter().position(|byte| b"/?#".contains(byte));
    &following[..end.unwrap_or(following.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str) -> KeySource {
        source(KeySourceKind::Header, name)
    }

    fn subdomain(name: &str) -> KeySource {
        source(KeySourceKind::Subdomain, name)
    }

    fn path(name: &str) -> KeySource {
        source(KeySourceKind::Path, name)
    }

    fn source(kind: KeySourceKind, name: &str) -> KeySource {
        KeySource::new(kind, name)
    }

    /// The key that these headers give, or the name of the refusal, or nothing.
    fn key_of(sources: &[KeySource], headers: &[(&str, &str)]) -> String {
        let mut values = KeyValues::new(sources);
        for (name, value) in headers {
            values.add(name.as_bytes(), value.as_bytes());
        }
        match values.key(Seals::NONE) {
            Ok(Some(key)) => String::from_utf8(key.as_bytes().to_vec()).unwrap(),
            Ok(None) => "none".to_owned(),
            Err(refusal) => refusal.code.problem().name.to_owned(),
        }
    }

    #[test]
    fn a_key_has_1_to_128_bytes_of_the_alphabet() {
        for key in [
            &b"a"[..],
            b"0",
            b"tenant-001",
            b"urn:acct:7+8=15~.@_",
            b"auth0|5f7c",
            &[b'x'; 128],
        ] {
            assert!(is_key(key), "{key:?}");
        }
        for other in [
            &b""[..],
            b"-a",
            b".a",
            b"a b",
            b"a/b",
            b"%41",
            b"a,b",
            b"a\0",
            b"\xc3\xbc",
            &[b'x'; 129],
        ] {
            assert!(!is_key(other), "{other:?}");
        }
    }

    #[test]
    fn a_host_is_one_and_has_no_user() {
        for host in [
            &b""[..],
            b"shop.example",
            b"shop.example:8080",
            b"Acme.shop.example.",
            b"192.0.2.1:80",
            b"[2001:db8::1]:443",
            b"a_b!.example",
            b"%41.example",
        ] {
            assert!(is_host(host), "{host:?}");
        }
        for other in [
            &b"a.example,b.example"[..],
            b"a@b.example",
            b"a b",
            b"a/b",
            b"a?b",
            b"a#b",
            b"a\\b",
            b"a\tb",
            b"a\0",
            b"\xc3\xbc.example",
        ] {
            assert!(!is_host(other), "{other:?}");
        }
    }

    #[test]
    fn every_byte_is_either_in_the_alphabet_or_not() {
        let allowed = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:@|+=~-";
        for byte in 0..=255 {
            assert_eq!(is_key(&[b'a', byte]), allowed.contains(&byte), "{byte}");
        }
    }

    #[test]
    fn a_header_says_one_key_once() {
        let sources = [header("x-org")];
        let of = |values: &[&str]| {
            let headers: Vec<_> = values.iter().map(|value| ("x-org", *value)).collect();
            key_of(&sources, &headers)
        };
        assert_eq!(of(&[]), "none");
        assert_eq!(of(&[""]), "none");
        assert_eq!(of(&["a", "a"]), "ambiguous-key");
        assert_eq!(of(&["", ""]), "ambiguous-key");
        assert_eq!(of(&["%41"]), "invalid-key");
        assert_eq!(of(&["Tenant.1"]), "Tenant.1");
        assert_eq!(key_of(&sources, &[("x-tenant-id", "a"), ("x-org", "b")]), "b");
    }

    #[test]
    fn the_label_before_the_domain_is_a_key() {
        let sources = [subdomain("example.com")];
        for (authority, expected) in [
            ("acme.example.com", "acme"),
            ("ACME.Example.COM", "acme"),
            ("acme.example.com:8080", "acme"),
            ("acme.example.com.", "acme"),
            ("acme.example.com.:443", "acme"),
            ("acme.example.com..", "none"),
            ("acme.example.com:", "none"),
            ("acme.example.com:http", "none"),
            ("example.com", "none"),
            (".example.com", "none"),
            ("a.acme.example.com", "none"),
            ("acme.example.org", "none"),
            ("acmeexample.com", "none"),
            ("%41.example.com", "invalid-key"),
            ("-a.example.com", "invalid-key"),
            ("[::1]:80", "none"),
            ("", "none"),
        ] {
            assert_eq!(key_of(&sources, &[(":authority", authority)]), expected, "{authority}");
        }
        assert_eq!(key_of(&sources, &[]), "none");
        assert_eq!(key_of(&sources, &[("host", "acme.example.com")]), "none");
    }

    #[test]
    fn the_segment_behind_the_prefix_is_a_key() {
        let sources = [path("/t/")];
        for (path, expected) in [
            ("/t/acme", "acme"),
            ("/t/Acme/users?t=1", "Acme"),
            ("/t/acme?x", "acme"),
            ("/t/acme#x", "acme"),
            ("/t/", "none"),
            ("/t//acme", "none"),
            ("/t", "none"),
            ("/T/acme", "none"),
            ("/v1/t/acme", "none"),
            ("/t/a%62", "invalid-key"),
            ("", "none"),
        ] {
            assert_eq!(key_of(&sources, &[(":path", path)]), expected, "{path}");
        }
    }

    #[test]
    fn the_first_source_that_has_a_value_says_the_key() {
        let sources = [header("x-org"), subdomain("example.com"), header("x-user"), path("/t/")];
        let all = [
            (":authority", "b.example.com"),
            (":path", "/t/d"),
            ("x-user", "c"),
            ("x-org", "a"),
        ];
        assert_eq!(key_of(&sources, &all), "a");
        assert_eq!(key_of(&sources, &all[..3]), "b");
        assert_eq!(key_of(&sources, &all[1..3]), "c");
        assert_eq!(key_of(&sources, &all[1..2]), "d");
        // Only a source that is asked can be ambiguous, and an invalid value is a value.
        assert_eq!(key_of(&sources, &[all[0], all[2], all[2]]), "b");
        assert_eq!(key_of(&sources, &[all[1], all[2], all[2]]), "ambiguous-key");
        assert_eq!(key_of(&sources, &[all[0], ("x-org", "/")]), "invalid-key");
    }

    #[test]
    fn a_key_keeps_its_bytes() {
        assert_eq!(PartitionKey::new(b"Tenant.1").unwrap().as_bytes(), b"Tenant.1");
    }
}
