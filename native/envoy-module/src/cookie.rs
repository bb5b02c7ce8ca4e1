//! Signed routing cookies: `cp1.<expiry>.<key id>.<MAC>.<tenant>`, as `cellplane.signed_cookie` writes them.

use crate::base64url::{decode, digest_text, DIGEST_CHARS};
use crate::hmac::{HmacKey, MAX_KEY_BYTES};
use std::fmt;

const VERSION: &[u8] = b"cp1";
const MIN_SECRET_BYTES: usize = 32;
const MAX_KEYS: usize = 8;
const MAX_KEY_ID_BYTES: usize = 32;
const MAX_EXPIRY_DIGITS: usize = 15;
const MAX_TENANT_BYTES: usize = 128;
/// Cookies of one name that are looked at; each may cost a MAC.
const MAX_COOKIES: usize = 4;

/// The keys of a file: `id secret` a line, with a jurisdiction where the key speaks for its tenants alone; `#` for comments. Their
/// order is for whoever signs.
pub struct Keyring(Vec<Key>);

struct Key {
    id: String,
    secret: HmacKey,
    jurisdiction: Option<String>,
}

/// A tenant that valid cookies say, and whose keys signed them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said<'a> {
    /// The tenant.
    pub tenant: &'a [u8],
    /// The keys, a bit each.
    pub signers: Signers,
}

/// Some keys of a keyring, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signers(u8);

/// More than one tenant is said, each by a valid cookie.
#[derive(Debug, PartialEq, Eq)]
pub struct Ambiguous;

// No secret is ever shown.
impl fmt::Debug for Keyring {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Keyring of {} keys", self.0.len())
    }
}

impl Keyring {
    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// A line is not a key. The reason names the line, never the secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut keys: Vec<Key> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let mut words = line.split_ascii_whitespace();
            let (id, secret, jurisdiction) = match (words.next(), words.next(), words.next(), words.next()) {
                (None, ..) => continue,
                (Some(word), ..) if word.starts_with('#') => continue,
                (Some(id), Some(secret), law, None)
                    if is_key_id(id.as_bytes()) && law.map_or(true, |law| is_name(law.as_bytes())) =>
                {
                    (id, secret, law)
                }
                _ => {
                    return Err(format!(
                    "line {number}: expected an id of 1 to 32 letters, digits, _ or -, a space and a secret, and no \
                         more but a jurisdiction"
                ))
                }
            };
            if keys.iter().any(|known| known.id == id) {
                return Err(format!("line {number}: the id {id:?} stands twice"));
            }
            let secret = decode(secret).ok_or_else(|| format!("line {number}: the secret is not base64url"))?;
            let key = HmacKey::new(&secret).filter(|_| secret.len() >= MIN_SECRET_BYTES);
            let key = key.ok_or_else(|| {
                format!(
                    "line {number}: expected a secret of {MIN_SECRET_BYTES} to {MAX_KEY_BYTES} bytes, found {}",
                    secret.len()
                )
            })?;
            keys.push(Key {
                id: id.to_owned(),
                secret: key,
                jurisdiction: jurisdiction.map(str::to_owned),
            });
        }
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return Err(format!("expected 1 to {MAX_KEYS} keys, found {}", keys.len()));
        }
        Ok(Self(keys))
    }

    /// The key that signs, and its id.
    pub fn first(&self) -> (&str, &HmacKey) {
        // A keyring is never empty.
        let key = &self.0[0];
        (&key.id, &key.secret)
    }

    /// Whether a key speaks for the tenants of one jurisdiction alone.
    pub fn has_jurisdiction(&self) -> bool {
        self.0.iter().any(|key| key.jurisdiction.is_some())
    }

    /// The tenant of the valid cookies of this name in a request's `Cookie` headers; None where there is none.
    ///
    /// # Errors
    ///
    /// There are two, of different tenants.
    pub fn tenant<'a>(
        &self,
        name: &'a [u8],
        headers: impl Iterator<Item = &'a [u8]>,
        now: u64,
    ) -> Result<Option<Said<'a>>, Ambiguous> {
        let mut found: Option<Said> = None;
        for value in headers.flat_map(|header| values_of(name, header)).take(MAX_COOKIES) {
            let Some((tenant, place)) = self.verify(name, value, now) else {
                continue;
            };
            let before = found.map_or(0, |said| said.signers.0);
            if found.map_or(false, |said| said.tenant != tenant) {
                return Err(Ambiguous);
            }
            let signers = Signers(before | 1 << place);
            found = Some(Said { tenant, signers });
        }
        Ok(found)
    }

    /// Whether one of these keys may say who a tenant in a cell under this law is. Of no keys it is: no cookie said it.
    pub fn speaks_for(&self, signers: Signers, jurisdiction: &str) -> bool {
        signers.0 == 0
            || (0..).zip(&self.0).any(|(place, key): (u32, &Key)| {
                signers.0 >> place & 1 == 1 && key.jurisdiction.as_deref().map_or(true, |law| law == jurisdiction)
            })
    }

    /// The tenant of a cookie's value, and the place of its key; None where it is not signed by one of these keys, or has expired.
    fn verify<'a>(&self, name: &[u8], value: &'a [u8], now: u64) -> Option<(&'a [u8], usize)> {
        let mut parts = value.splitn(5, |byte| *byte == b'.');
        let (version, expires, id) = (parts.next()?, parts.next()?, parts.next()?);
        let (mac, tenant) = (parts.next()?, parts.next()?);
        let is_tenant = (1..=MAX_TENANT_BYTES).contains(&tenant.len()) && tenant.iter().all(u8::is_ascii_graphic);
        if version != VERSION || !is_key_id(id) || !is_tenant || expiry(expires)? <= now {
            return None;
        }
        let place = self.0.iter().position(|known| known.id.as_bytes() == id)?;
        let expected = self.0[place]
            .secret
            .mac([VERSION, b"\n", name, b"\n", expires, b"\n", id, b"\n", tenant]);
        is_same(&digest_text(&expected), mac).then_some((tenant, place))
    }
}

/// The values of the cookies of a name (RFC 6265, section 5.4).
fn values_of<'a>(name: &'a [u8], header: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    header.split(|byte| *byte == b';').filter_map(move |pair| {
        let pair = trim(pair).strip_prefix(name)?;
        pair.strip_prefix(b"=")
    })
}

/// Without the spaces and tabs at both ends.
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn is_key_id(id: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
    (1..=MAX_KEY_ID_BYTES).contains(&id.len()) && id.iter().all(allowed)
}

/// Whether these bytes may name a jurisdiction: a DNS label, as in the table.
fn is_name(name: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends_well = name.first().map_or(false, is_letter) && name.last().map_or(false, is_letter);
    ends_well && name.len() <= 63 && name.iter().all(|byte| is_letter(byte) || *byte == b'-')
}

/// A decimal number without leading zeros.
fn expiry(digits: &[u8]) -> Option<u64> {
    if digits.len() > MAX_EXPIRY_DIGITS || !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let number = |sum: u64, digit: &u8| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'));
    digits.iter().try_fold(0, number)
}

/// Compares in a time that does not tell how much is alike.
fn is_same(expected: &[u8; DIGEST_CHARS], found: &[u8]) -> bool {
    if found.len() != DIGEST_CHARS {
        return false;
    }
    let difference = expected.iter().zip(found).fold(0, |sum, (a, b)| sum | (a ^ b));
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `Keyring.parse(KEYS).sign("route", "tenant-001", expires=2_000_000_000)` of `cellplane.signed_cookie` writes it.
    const COOKIE: &str = "cp1.2000000000.new.mjgQFK0kgqKnTlza4I3m25vOubxZSh2stgkGFbfRpeA.tenant-001";
    const KEYS: &str =
        "# keys\nnew AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n\nold ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8\n";
    const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    const NOW: u64 = 1_999_999_999;

    fn tenant(headers: &[&str], now: u64) -> Result<Option<String>, Ambiguous> {
        let keys = Keyring::parse(KEYS).unwrap();
        let found = keys.tenant(b"route", headers.iter().map(|header| header.as_bytes()), now)?;
        Ok(found.map(|said| String::from_utf8(said.tenant.to_vec()).unwrap()))
    }

    fn accepts(cookie: &str) -> bool {
        tenant(&[&format!("route={cookie}")], NOW) == Ok(Some("tenant-001".to_owned()))
    }

    #[test]
    fn a_cookie_counts_until_it_expires() {
        let header = format!("a=b; route={COOKIE};c=d");
        assert_eq!(tenant(&[&header], NOW), Ok(Some("tenant-001".to_owned())));
        assert_eq!(tenant(&[&header], NOW + 1), Ok(None));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        assert!(accepts(COOKIE));
        for place in 0..COOKIE.len() {
            let mut bytes = COOKIE.as_bytes().to_vec();
            bytes[place] = if bytes[place] == b'1' { b'2' } else { b'1' };
            assert!(!accepts(std::str::from_utf8(&bytes).unwrap()), "byte {place}");
        }
        for changed in [
            "",
            "cp1",
            &COOKIE[1..],
            &COOKIE[..COOKIE.len() - 1],
            &format!("{COOKIE}."),
        ] {
            assert!(!accepts(changed), "{changed}");
        }
    }

    #[test]
    fn a_cookie_is_for_one_name() {
        let found = Keyring::parse(KEYS).unwrap();
        let header = format!("other={COOKIE}");
        assert_eq!(found.tenant(b"other", [header.as_bytes()].into_iter(), NOW), Ok(None));
    }

    #[test]
    fn two_tenants_are_ambiguous_and_one_twice_is_not() {
        let other = "cp1.2000000000.old.uHo2NzIVe6UY3idUhTDBwoPzbSEUUwmC_CT4raACfVU.tenant-002";
        let both = format!("route={COOKIE}; route={other}");
        assert_eq!(tenant(&[&both], NOW), Err(Ambiguous));
        let (first, second) = (format!("route={COOKIE}"), format!("route={COOKIE}; route=forged"));
        assert_eq!(tenant(&[&first, &second], NOW), Ok(Some("tenant-001".to_owned())));
    }

    #[test]
    fn a_key_of_a_jurisdiction_speaks_for_its_tenants_alone() {
        let (both, eu) = (format!("{KEYS}us {SECRET} us\n"), KEYS.replace("Hh8\n", "Hh8 eu\n"));
        for (text, speaks) in [(KEYS, [true, true]), (&both, [true, true]), (&eu, [true, false])] {
            let keys = Keyring::parse(text).unwrap();
            let header = format!("route={COOKIE}");
            let said = keys
                .tenant(b"route", [header.as_bytes()].into_iter(), NOW)
                .unwrap()
                .unwrap();
            assert_eq!(said.tenant, b"tenant-001");
            assert_eq!(
                ["eu", "us"].map(|law| keys.speaks_for(said.signers, law)),
                speaks,
                "{text}"
            );
            assert!(keys.speaks_for(Signers::default(), "us"), "no cookie said it");
        }
    }

    #[test]
    fn of_several_cookies_of_one_tenant_any_key_may_speak() {
        let eu = format!("eu {SECRET} eu\nus ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8 us\n");
        let keys = Keyring::parse(&eu).unwrap();
        assert!(keys.speaks_for(Signers(0b11), "us") && keys.speaks_for(Signers(0b11), "eu"));
        assert!(!keys.speaks_for(Signers(0b11), "ch") && !keys.speaks_for(Signers(0b10), "eu"));
    }

    #[test]
    fn more_than_four_cookies_do_not_count() {
        let late = format!("route=a; route=b; route=c; route=d; route={COOKIE}");
        assert_eq!(tenant(&[&late], NOW), Ok(None));
    }

    #[test]
    fn every_other_file_is_refused_without_its_secret() {
        let secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        for (text, reason) in [
            ("", "expected 1 to 8 keys, found 0"),
            ("# none\n", "expected 1 to 8 keys, found 0"),
            ("a", "line 1: expected an id"),
            ("\na.b AAAA", "line 2: expected an id"),
            (&format!("a {secret} {secret}"), "line 1: expected an id"),
            (&format!("a {secret} eu us"), "line 1: expected an id"),
            (&format!("a {secret} -eu"), "line 1: expected an id"),
            ("a AAAA", "line 1: expected a secret of 32 to 64 bytes, found 3"),
            ("a AAAAA", "line 1: the secret is not base64url"),
            (&format!("a {secret}\na {secret}"), "line 2: the id \"a\" stands twice"),
        ] {
            let message = Keyring::parse(text).unwrap_err();
            assert!(
                message.contains(reason) && !message.contains(secret),
                "{text:?}: {message}"
            );
        }
        let many: String = (0..9).map(|number| format!("k{number} {secret}\n")).collect();
        assert!(Keyring::parse(&many).is_err());
        assert_eq!(format!("{:?}", Keyring::parse(KEYS).unwrap()), "Keyring of 2 keys");
    }
}
