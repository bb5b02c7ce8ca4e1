//! What is kept of an answer, to be compared with another cell's to the same request.
//!
//! A datagram to the router's agent, which has both halves and compares them (`cellplane.router.captures`): lines
//! `name=value`, an empty line, and so much of the body as is kept. Nothing of a request's headers or query is in it.

use crate::stream::Response;
use std::cell::Cell;

/// Most bytes of a body that are kept; of all of it there are the length and a digest.
pub const MAX_BODY_BYTES: usize = 32 * 1024;
/// Most answers of which one worker keeps bodies at once.
pub const MAX_CAPTURES: usize = 128;
/// Most bytes of a line's value.
const MAX_VALUE_BYTES: usize = 512;
/// Fowler, Noll, Vo: FNV-1a of 64 bits.
const FNV_START: u64 = 0xCBF2_9CE4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01B3;

thread_local! {
    static KEPT: Cell<usize> = const { Cell::new(0) };
}

/// Who has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The cell whose answer the client gets.
    Cell,
    /// The cell that got a copy.
    Shadow,
}

/// An answer that is being kept.
#[derive(Debug)]
pub struct Capture {
    lines: Vec<u8>,
    body: Vec<u8>,
    length: u64,
    digest: u64,
    has_ended: bool,
}

impl Capture {
    /// Begins to keep an answer; None where this worker keeps as many as it may.
    pub fn begin(side: Side, pair: &[u8]) -> Option<Self> {
        KEPT.with(|kept| {
            (kept.get() < MAX_CAPTURES).then(|| {
                kept.set(kept.get() + 1);
                let mut capture = Self {
                    lines: Vec::new(),
                    body: Vec::new(),
                    length: 0,
                    digest: FNV_START,
                    has_ended: false,
                };
                capture.say("pair", pair);
                capture.say("side", if side == Side::Cell { b"cell" } else { b"shadow" });
                capture
            })
        })
    }

    /// Says something of the request or of the answer; too long a value is cut, and no value can be two lines.
    pub fn say(&mut self, name: &str, value: &[u8]) {
        self.lines.extend(name.as_bytes());
        self.lines.push(b'=');
        let kept = value.iter().take(MAX_VALUE_BYTES);
        self.lines
            .extend(kept.map(|byte| if *byte < b' ' { b'?' } else { *byte }));
        self.lines.push(b'\n');
    }

    /// Takes the next part of the body.
    pub fn add(&mut self, part: &[u8]) {
        let room = MAX_BODY_BYTES - self.body.len();
        self.body.extend(&part[..part.len().min(room)]);
        self.length += part.len() as u64;
        self.digest = part.iter().fold(self.digest, |digest, byte| {
            (digest ^ u64::from(*byte)).wrapping_mul(FNV_PRIME)
        });
    }

    /// Takes note that there is no more of it.
    pub fn end(&mut self) {
        self.has_ended = true;
    }

    /// What the agent is told. An answer that Envoy gave in place of the cell, or that was broken off, is none.
    pub fn datagram(&mut self, response: &Response) -> Vec<u8> {
        let is_answer = self.has_ended && response.flags == 0;
        let status = response.status.filter(|_| is_answer).unwrap_or(0);
        let (length, digest) = (self.length, self.digest);
        self.say("status", status.to_string().as_bytes());
        self.say("length", length.to_string().as_bytes());
        self.say("digest", format!("{digest:016x}").as_bytes());
        let mut datagram = std::mem::take(&mut self.lines);
        datagram.push(b'\n');
        datagram.append(&mut self.body);
        datagram
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        KEPT.with(|kept| kept.set(kept.get() - 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: Response = Response {
        status: Some(200),
        flags: 0,
    };

    fn text(mut capture: Capture, response: &Response) -> String {
        String::from_utf8(capture.datagram(response)).unwrap()
    }

    #[test]
    fn an_answer_is_its_lines_and_its_body() {
        let mut capture = Capture::begin(Side::Cell, b"17").unwrap();
        capture.say("path", b"/a\nstatus=200");
        capture.add(b"foo");
        capture.add(b"bar");
        capture.end();
        // The digest of `foobar` is in the authors' list of test vectors.
        let expected =
            "pair=17\nside=cell\npath=/a?status=200\nstatus=200\nlength=6\ndigest=85944171f73967e8\n\nfoobar";
        assert_eq!(text(capture, &OK), expected);
    }

    #[test]
    fn of_a_large_body_there_is_its_beginning_and_the_digest_of_all() {
        let kept = |last: u8| {
            let mut capture = Capture::begin(Side::Shadow, b"17").unwrap();
            capture.add(&[b'x'; 20_000]);
            capture.add(&[b'x'; 20_000]);
            capture.add(&[last]);
            capture.end();
            text(capture, &OK)
        };
        let (one, other) = (kept(b'y'), kept(b'z'));
        assert!(one.contains("\nlength=40001\n") && one.ends_with(&"x".repeat(MAX_BODY_BYTES)));
        assert_eq!(one.split_once("\n\n").unwrap().1, other.split_once("\n\n").unwrap().1);
        assert_ne!(one, other);
    }

    #[test]
    fn what_is_no_answer_of_the_cell_has_no_status() {
        let refused = Response {
            status: Some(503),
            flags: Response::CONNECTION_FAILURE,
        };
        for (response, ends) in [(&refused, true), (&OK, false)] {
            let mut capture = Capture::begin(Side::Shadow, b"17").unwrap();
            if ends {
                capture.end();
            }
            assert!(text(capture, response).contains("\nstatus=0\n"));
        }
    }

    #[test]
    fn no_more_are_kept_than_may_be_and_each_end_makes_room() {
        let mut kept: Vec<Capture> = (0..MAX_CAPTURES)
            .map(|_| Capture::begin(Side::Cell, b"17").unwrap())
            .collect();
        assert!(Capture::begin(Side::Cell, b"17").is_none());
        kept.pop();
        assert!(Capture::begin(Side::Cell, b"17").is_some());
    }
}
