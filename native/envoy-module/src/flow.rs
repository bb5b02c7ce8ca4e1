//! What the filter keeps of one pass of a request, from its headers to its end.

use crate::capture::Capture;
use crate::kept::{AnswerKey, Head, Room};
use crate::key::PartitionKey;

/// A request that was let through to a cell.
pub struct Sent {
    /// Index of the cell.
    pub cell: u16,
    /// The tenant, where there is one.
    pub tenant: Option<PartitionKey>,
    /// When it was let through, nanoseconds.
    pub since_ns: u64,
    /// Whether it may be tried again: it reads, has no body, and there is another cell to ask.
    pub may_retry: bool,
    /// What its answer means for those that are kept.
    pub keeping: Keeping,
    /// Whether it may be sent again where the cell says that it is another's: it has no body, and this is its first pass.
    pub may_refetch: bool,
}

/// What the answer to a request means for the answers that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// Nothing.
    Nothing,
    /// It may be kept.
    Answer,
    /// What is kept of its path counts no more, where it succeeds.
    Write,
}

/// An answer that is to be kept, while it comes.
#[derive(Debug)]
pub struct Coming {
    /// Its own.
    pub key: AnswerKey,
    /// Its headers.
    pub head: Head,
    /// What has come of its body.
    pub body: Vec<u8>,
    /// What it takes.
    pub room: Room,
}

/// What is kept of one pass of a request.
#[derive(Default)]
pub struct Flow {
    /// Since it was let through, until it is counted as ended.
    pub sent: Option<Sent>,
    /// Whether its answer waits until the agent says that a newer table is live.
    pub is_waiting: bool,
    /// An answer that is to be kept, until it has come whole.
    pub coming: Option<Box<Coming>>,
    /// Its answer, where it is compared.
    pub capture: Option<Box<Capture>>,
}
