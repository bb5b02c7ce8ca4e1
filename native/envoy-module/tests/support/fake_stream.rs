//! A stream that behaves as Envoy's: its route follows `x-cell-id` once the route cache is cleared.

use cellplane_envoy::stream::{Headers, Reply, Response, Stream, TooManyHeaders, MAX_HEADERS};
use std::cell::RefCell;

/// What the filter answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub details: String,
}

/// A request.
#[derive(Clone, Debug, Default)]
pub struct FakeStream {
    pub request: Vec<(Vec<u8>, Vec<u8>)>,
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The client's address, as Envoy shows it.
    pub address: &'static str,
    /// The time, Unix seconds.
    pub now: u64,
    /// The time, nanoseconds.
    pub clock_ns: u64,
    pub worker: usize,
    pub random: u32,
    pub turn: u64,
    pub response: Response,
    pub response_headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// What has just come of the answer's body.
    pub response_parts: Vec<Vec<u8>>,
    /// Whether the agent reads what it is told.
    pub hears: bool,
    /// What it was told.
    pub told_agent: RefCell<Vec<String>>,
    pub remembered: Option<Vec<u8>>,
    /// How often the request was begun anew.
    pub begun_anew: usize,
    /// What the agent was asked; None in place of an agent that cannot be.
    pub asked_agent: Option<Vec<String>>,
    /// How often an answer that was held was let go on.
    pub continued: usize,
    /// Whether it cannot be: it has not come whole yet.
    pub is_incomplete: bool,
    /// Cells whose cluster has no healthy host.
    pub down: Vec<&'static str>,
    pub answer: Option<Answer>,
    /// Whether the answer was said to be the filter's own.
    pub marked: bool,
    /// The cluster of the route, which was chosen when the route cache was last empty.
    pub cluster: Option<String>,
}

impl FakeStream {
    /// A request of these headers, in their order.
    pub fn new(method: &str, headers: &[(&str, &str)]) -> Self {
        let pseudo = [(":method", method), (":path", "/"), (":authority", "tests")];
        let mut stream = Self {
            request: owned(pseudo.iter().chain(headers)),
            ..Self::default()
        };
        // Envoy chooses a route before any filter runs, by what the client has sent.
        stream.cluster = stream.cluster_header();
        stream
    }

    /// Adds trailers.
    pub fn with_trailers(mut self, trailers: &[(&str, &str)]) -> Self {
        self.trailers = owned(trailers.iter());
        self
    }

    /// All values of a request header.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let with_name = self.request.iter().filter(|(found, _)| found == name.as_bytes());
        with_name
            .map(|(_, value)| std::str::from_utf8(value).unwrap())
            .collect()
    }

    fn cluster_header(&self) -> Option<String> {
        self.values("x-cell-id").first().map(|cell| cell.to_string())
    }

    fn headers(&mut self, headers: Headers) -> &mut Vec<(Vec<u8>, Vec<u8>)> {
        match headers {
            Headers::Request => &mut self.request,
            Headers::Trailers => &mut self.trailers,
            Headers::Response => &mut self.response_headers,
        }
    }
}

fn owned<'a>(headers: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    headers
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect()
}

impl Stream for FakeStream {
    fn scan<'a>(&'a self, headers: Headers, mut visit: impl FnMut(&'a [u8], &'a [u8])) -> Result<(), TooManyHeaders> {
        let headers = match headers {
            Headers::Request => &self.request,
            Headers::Trailers => &self.trailers,
            Headers::Response => &self.response_headers,
        };
        if headers.len() > MAX_HEADERS {
            return Err(TooManyHeaders);
        }
        headers.iter().for_each(|(name, value)| visit(name, value));
        Ok(())
    }

    fn set(&mut self, headers: Headers, name: &[u8], value: &[u8]) {
        self.remove(headers, name);
        self.headers(headers).push((name.to_vec(), value.to_vec()));
    }

    fn add(&mut self, headers: Headers, name: &[u8], value: &[u8]) {
        let headers = self.headers(headers);
        assert!(
            headers.iter().all(|(found, _)| found != name),
            "a header was added that is there"
        );
        headers.push((name.to_vec(), value.to_vec()));
    }

    fn remove(&mut self, headers: Headers, name: &[u8]) {
        self.headers(headers).retain(|(found, _)| found != name);
    }

    fn clear_route_cache(&mut self) {
        self.cluster = self.cluster_header();
    }

    fn client_address(&self) -> &[u8] {
        self.address.as_bytes()
    }

    fn unix_seconds(&self) -> u64 {
        self.now
    }

    fn clock_ns(&self) -> u64 {
        self.clock_ns
    }

    fn worker(&self) -> usize {
        self.worker
    }

    fn random(&self) -> u32 {
        self.random
    }

    fn turn(&self) -> u64 {
        self.turn
    }

    fn response(&self) -> Response {
        self.response
    }

    fn response_header(&self, name: &[u8]) -> &[u8] {
        let found = self.response_headers.iter().find(|(found, _)| found == name);
        found.map_or(b"", |(_, value)| value)
    }

    fn response_parts(&self, visit: impl FnMut(&[u8])) {
        self.response_parts.iter().map(Vec::as_slice).for_each(visit);
    }

    fn tell_agent(&self, datagram: &[u8]) -> bool {
        if self.hears {
            let told = String::from_utf8(datagram.to_vec()).unwrap();
            self.told_agent.borrow_mut().push(told);
        }
        self.hears
    }

    fn remember(&mut self, value: &[u8]) {
        self.remembered = Some(value.to_vec());
    }

    fn remembered(&self) -> Option<&[u8]> {
        self.remembered.as_deref()
    }

    fn ask_agent(&mut self, path: &str) -> bool {
        match &mut self.asked_agent {
            Some(asked) => {
                asked.push(path.to_owned());
                true
            }
            None => false,
        }
    }

    fn continue_response(&mut self) {
        self.continued += 1;
    }

    fn begin_anew(&mut self) -> bool {
        self.begun_anew += usize::from(!self.is_incomplete);
        !self.is_incomplete
    }

    fn mark_refused(&mut self) {
        self.marked = true;
    }

    fn healthy_hosts(&self) -> usize {
        match &self.cluster {
            Some(cell) if !self.down.contains(&cell.as_str()) => 1,
            _ => 0,
        }
    }

    fn reply(&mut self, reply: &Reply) {
        assert!(self.answer.is_none(), "the filter answered twice");
        self.answer = Some(Answer {
            status: reply.status,
            headers: reply
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            body: String::from_utf8(reply.body.to_owned()).unwrap(),
            details: reply.details.to_owned(),
        });
    }
}
