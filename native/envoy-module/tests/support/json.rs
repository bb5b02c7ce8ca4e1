//! A reader of JSON (RFC 8259) for the conformance vectors, so that the crate needs no dependency.

use std::collections::BTreeMap;

/// A JSON value. The vectors hold no other numbers than whole ones.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(u64),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// The value of a whole document.
    pub fn parse(text: &str) -> Json {
        let mut parser = Parser { rest: text };
        let value = parser.value();
        assert_eq!(parser.rest.trim_start(), "", "there is something behind the JSON value");
        value
    }

    /// A member of an object, where it is there.
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.get(name),
            other => panic!("expected an object with {name:?}, found {other:?}"),
        }
    }

    /// A member that must be there.
    pub fn member(&self, name: &str) -> &Json {
        self.get(name)
            .unwrap_or_else(|| panic!("expected a member {name:?} in {self:?}"))
    }

    pub fn text(&self) -> &str {
        match self {
            Json::Text(text) => text,
            other => panic!("expected a text, found {other:?}"),
        }
    }

    pub fn number(&self) -> u64 {
        match self {
            Json::Number(number) => *number,
            other => panic!("expected a number, found {other:?}"),
        }
    }

    pub fn bool(&self) -> bool {
        match self {
            Json::Bool(value) => *value,
            other => panic!("expected true or false, found {other:?}"),
        }
    }

    pub fn list(&self) -> &[Json] {
        match self {
            Json::List(values) => values,
            other => panic!("expected a list, found {other:?}"),
        }
    }

    /// The bytes that a text names in hexadecimal digits.
    pub fn hex(&self) -> Vec<u8> {
        let digits = self.text();
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
        (0..digits.len()).step_by(2).map(byte).collect()
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn value(&mut self) -> Json {
        self.rest = self.rest.trim_start();
        match self.rest.as_bytes().first() {
            Some(b'{') => self.object(),
            Some(b'[') => self.list(),
            Some(b'"') => Json::Text(self.text()),
            Some(b'0'..=b'9') => self.number(),
            _ if self.takes("null") => Json::Null,
            _ if self.takes("true") => Json::Bool(true),
            _ if self.takes("false") => Json::Bool(false),
            _ => self.fail("a value"),
        }
    }

    fn object(&mut self) -> Json {
        let mut members = BTreeMap::new();
        self.need("{");
        while !self.takes("}") {
            if !members.is_empty() {
                self.need(",");
            }
            let name = self.text();
            self.need(":");
            let value = self.value();
            assert!(members.insert(name, value).is_none(), "a member stands twice");
        }
        Json::Object(members)
    }

    fn list(&mut self) -> Json {
        let mut values = Vec::new();
        self.need("[");
        while !self.takes("]") {
            if !values.is_empty() {
                self.need(",");
            }
            values.push(self.value());
        }
        Json::List(values)
    }

    fn number(&mut self) -> Json {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        Json::Number(digits.parse().expect("a whole number below 2^64"))
    }

    fn text(&mut self) -> String {
        self.need("\"");
        let mut text = String::new();
        loop {
            match self.next_char() {
                '"' => return text,
                '\\' => text.push(self.escaped()),
                other => text.push(other),
            }
        }
    }

    fn escaped(&mut self) -> char {
        match self.next_char() {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => {
                let (digits, rest) = self.rest.split_at(4);
                self.rest = rest;
                let code = u32::from_str_radix(digits, 16).expect("four hexadecimal digits");
                char::from_u32(code).expect("no surrogates: the vectors do not use them")
            }
            other => other,
        }
    }

    fn next_char(&mut self) -> char {
        let mut chars = self.rest.chars();
        let next = chars.next().unwrap_or_else(|| self.fail("the end of a text"));
        self.rest = chars.as_str();
        next
    }

    /// Skips white space and this token, where it comes next.
    fn takes(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn need(&mut self, token: &str) {
        if !self.takes(token) {
            self.fail(token)
        }
    }

    fn fail(&self, expected: &str) -> ! {
        panic!(
            "expected {expected}, found {:?}",
            self.rest.chars().take(40).collect::<String>()
        )
    }
}
