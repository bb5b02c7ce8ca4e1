//! What `Cache-Control` says (RFC 9111, section 5.2), of a request or an answer.

/// A number of seconds that stands for any larger one (RFC 9111, 1.2.2).
const MAX_SECONDS: u64 = 1 << 31;

/// The directives that count here. What is said twice counts in its stricter sense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// Nobody may keep it.
    pub no_store: bool,
    /// Nobody may have it who does not ask the cell.
    pub no_cache: bool,
    /// It is for one user.
    pub private: bool,
    /// It is for everybody.
    pub public: bool,
    /// It may not be given once it is stale.
    pub must_revalidate: bool,
    /// How long it is fresh.
    pub max_age_s: Option<u64>,
    /// The same for whoever keeps it for many users.
    pub s_maxage_s: Option<u64>,
    /// How long it may be given behind that, while the cell fails (RFC 5861).
    pub stale_if_error_s: Option<u64>,
}

impl Directives {
    /// Adds a field's value. A directive of which only some fields are meant (`private="a"`) counts for all of it.
    pub fn add(&mut self, value: &[u8]) {
        for member in members(value) {
            let (name, argument) = match member.iter().position(|byte| *byte == b'=') {
                Some(place) => (&member[..place], Some(&member[place + 1..])),
                None => (member, None),
            };
            let seconds = || Some(seconds(argument.unwrap_or_default()));
            match name.to_ascii_lowercase().as_slice() {
                b"no-store" => self.no_store = true,
                b"no-cache" => self.no_cache = true,
                b"private" => self.private = true,
                b"public" => self.public = true,
                b"must-revalidate" | b"proxy-revalidate" => self.must_revalidate = true,
                b"max-age" => self.max_age_s = least(self.max_age_s, seconds()),
                b"s-maxage" => self.s_maxage_s = least(self.s_maxage_s, seconds()),
                b"stale-if-error" => self.stale_if_error_s = least(self.stale_if_error_s, seconds()),
                _ => {}
            }
        }
    }

    /// Whether an answer may be kept for others than the user who asked, where that user was known.
    pub fn is_for_all(&self) -> bool {
        self.public || self.s_maxage_s.is_some()
    }

    /// How old an answer may be given while the cell is down; None where it does not say. Without a lifetime that it
    /// says here it counts as stale from the start.
    pub fn longest_s(&self) -> Option<u64> {
        let fresh_s = self.s_maxage_s.or(self.max_age_s).unwrap_or(0);
        if self.must_revalidate || self.s_maxage_s.is_some() {
            return Some(fresh_s);
        }
        self.stale_if_error_s.map(|beyond_s| fresh_s + beyond_s)
    }
}

fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

/// Members of a list between commas, but for those in quotes; without the blanks around them.
fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = value.split(move |byte| {
        let is_end = *byte == b',' && !is_quoted;
        if *byte == b'"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = is_quoted && *byte == b'\\' && !is_escaped;
        is_end
    });
    parts.map(trim)
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// A number of seconds, in quotes or not. What is none is 0: then the answer is stale.
fn seconds(argument: &[u8]) -> u64 {
    let argument = trim(argument);
    let digits = argument
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
        .unwrap_or(argument);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    digits
        .iter()
        .fold(0u64, |sum, digit| (sum * 10 + u64::from(digit - b'0')).min(MAX_SECONDS))
}

/// The members of a list of names, such as that of `Vary`.
pub fn names(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(trim)
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Directives {
        let mut directives = Directives::default();
        values.iter().for_each(|value| directives.add(value.as_bytes()));
        directives
    }

    #[test]
    fn directives_are_read_in_any_case_and_from_several_fields() {
        let found = read(&["PUBLIC ,max-age=60,, x=1", "\tS-MaxAge=\"30\", stale-if-error=600"]);
        let expected = Directives {
            public: true,
            max_age_s: Some(60),
            s_maxage_s: Some(30),
            stale_if_error_s: Some(600),
            ..Directives::default()
        };
        assert_eq!(found, expected);
        assert_eq!(read(&["", ",", "publicity, max-age-x=1"]), Directives::default());
    }

    #[test]
    fn a_comma_in_quotes_ends_nothing_and_hides_nothing() {
        let found = read(&["private=\"a, public\", no-cache=\"b\\\", max-age=1\"", "no-store"]);
        let expected = Directives {
            private: true,
            no_cache: true,
            no_store: true,
            ..Directives::default()
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_number_that_is_none_makes_stale_and_one_that_is_too_large_is_the_largest() {
        for (text, expected) in [
            ("max-age", 0),
            ("max-age=", 0),
            ("max-age=-1", 0),
            ("max-age=1.5", 0),
            ("max-age=60s", 0),
            ("max-age=007", 7),
            ("max-age=99999999999999999999999999", MAX_SECONDS),
            ("max-age=60, max-age=30", 30),
        ] {
            assert_eq!(read(&[text]).max_age_s, Some(expected), "{text}");
        }
    }

    #[test]
    fn how_old_an_answer_may_be_is_what_it_says_of_stale_ones() {
        for (text, expected) in [
            ("", None),
            ("max-age=60", None),
            ("max-age=60, stale-if-error=600", Some(660)),
            ("stale-if-error=600", Some(600)),
            ("max-age=60, must-revalidate", Some(60)),
            ("proxy-revalidate, max-age=60, stale-if-error=600", Some(60)),
            ("must-revalidate", Some(0)),
            ("max-age=60, s-maxage=30", Some(30)),
        ] {
            assert_eq!(read(&[text]).longest_s(), expected, "{text}");
        }
    }
}
