//! What the filter needs of a request's stream; Envoy in production, a fake in tests.

/// Most headers, or trailers, that one scan looks at. Envoy's own limit is 100 of each by default.
pub const MAX_HEADERS: usize = 128;

/// One of the sets of headers of a request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headers {
    /// In front of the body, with pseudo-headers such as `:method`.
    Request,
    /// Behind the body.
    Trailers,
    /// In front of the answer's body, with pseudo-headers such as `:status`.
    Response,
}

/// A scan was refused: there are more than [`MAX_HEADERS`].
#[derive(Debug)]
pub struct TooManyHeaders;

/// A request on its way through Envoy.
///
/// What a scan lends it takes back with the next change, as Envoy may then free it; the borrow checker sees to that.
pub trait Stream {
    /// Shows all names, in lower case, and values to `visit`, in their order.
    fn scan<'a>(&'a self, headers: Headers, visit: impl FnMut(&'a [u8], &'a [u8])) -> Result<(), TooManyHeaders>;

    /// Sets a header; all values that it had are gone.
    fn set(&mut self, headers: Headers, name: &[u8], value: &[u8]);

    /// Adds a header that is known not to be there; saves the search that `set` makes.
    fn add(&mut self, headers: Headers, name: &[u8], value: &[u8]);

    /// Removes all values of a header.
    fn remove(&mut self, headers: Headers, name: &[u8]);

    /// The time, Unix seconds.
    fn unix_seconds(&self) -> u64;

    /// The time since any fixed moment, nanoseconds. It never goes back.
    fn clock_ns(&self) -> u64;

    /// Index of the worker thread that this stream is on.
    fn worker(&self) -> usize;

    /// A random number.
    fn random(&self) -> u32;

    /// A number that goes up by one from request to request of this worker.
    fn turn(&self) -> u64;

    /// What the answer is so far, or was: Envoy's or a cell's.
    fn response(&self) -> Response;

    /// The first value of a response header; empty where there is none.
    fn response_header(&self, name: &[u8]) -> &[u8];

    /// Shows the parts of the answer's body that have just come.
    fn response_parts(&self, visit: impl FnMut(&[u8]));

    /// Tells the router's agent something; false where it does not read. Nobody waits.
    #[must_use]
    fn tell_agent(&self, datagram: &[u8]) -> bool;

    /// Remembers something for another pass of this request, and for no other request.
    fn remember(&mut self, value: &[u8]);

    /// What an earlier pass of this request remembers.
    fn remembered(&self) -> Option<&[u8]>;

    /// Asks the router's agent by a path, and holds the answer until it has said something; false where it cannot be
    /// asked.
    #[must_use]
    fn ask_agent(&mut self, path: &str) -> bool;

    /// Lets an answer go on that was held.
    fn continue_response(&mut self);

    /// Begins the request anew, all of its filters. Nothing of this pass may be touched behind it.
    #[must_use]
    fn begin_anew(&mut self) -> bool;

    /// Makes Envoy choose the route, and with it the cluster, anew.
    fn clear_route_cache(&mut self);

    /// Healthy hosts of the chosen route's cluster; 0 where there is no such cluster.
    fn healthy_hosts(&self) -> usize;

    /// The client's address as text, with or without port; empty where it has none.
    fn client_address(&self) -> &[u8];

    /// Says that the answer is the filter's own, so that the texts of Envoy's own errors (`local_reply_config`) do not
    /// replace it. Said where no client can say it.
    fn mark_refused(&mut self);

    /// Answers the request here. The filter must then stop it.
    fn reply(&mut self, reply: &Reply);
}

/// An answer, as Envoy describes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// HTTP status; None where the client went away before there was one.
    pub status: Option<u16>,
    /// Envoy's response flags.
    pub flags: u64,
}

impl Response {
    /// The cell did not take the connection.
    pub const CONNECTION_FAILURE: u64 = 0x20;
    /// The cell closed the connection before it had answered.
    pub const CONNECTION_TERMINATION: u64 = 0x40;
    /// Envoy did not send it: as many are under way at the cell as may be.
    pub const OVERFLOW: u64 = 0x80;
    /// The client went away: it closed the connection (0x4000), broke the protocol (0x4_0000), or reset the stream, as
    /// browsers do by HTTP/2 whenever somebody leaves a page (0x1000_0000).
    pub const CLIENT_GONE: u64 = 0x4000 | 0x4_0000 | 0x1000_0000;
    /// The cell broke off what it had begun to answer; by HTTP/1.1 it then broke the protocol (0x80_0000).
    pub const BROKEN_OFF: u64 = 0x10 | Self::CONNECTION_TERMINATION | 0x80_0000;

    /// Whether the cell never took the request, or broke off before it answered.
    pub fn is_unreachable(&self) -> bool {
        let has_answered = self.status.map_or(false, |status| status < 500);
        !has_answered && self.flags & (Self::CONNECTION_FAILURE | Self::CONNECTION_TERMINATION) != 0
    }

    /// Whether the cell never got the request, as it has enough to do.
    pub fn is_shed(&self) -> bool {
        self.flags & Self::OVERFLOW != 0
    }

    /// Whether the cell is to blame for how this ended.
    pub fn is_error(&self) -> bool {
        match self.status {
            // What was upgraded, such as to a WebSocket, ends when either side closes the connection.
            Some(101) => false,
            Some(status) => status >= 500 || self.flags & Self::BROKEN_OFF != 0,
            None => self.flags & Self::CLIENT_GONE == 0,
        }
    }
}

/// An answer of the router itself.
#[derive(Debug)]
pub struct Reply<'a> {
    /// HTTP status.
    pub status: u16,
    /// Names and values.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
    /// Envoy's response code details.
    pub details: &'a str,
}
