//! What the filter keeps of one pass of a request, from its headers to its end.

use crate::capture::Capture;
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
    /// Whether it may be sent again where the cell says that it is another's: it has no body, and this is its first pass.
    pub may_refetch: bool,
}

/// What is kept of one pass of a request.
#[derive(Default)]
pub struct Flow {
    /// Since it was let through, until it is counted as ended.
    pub sent: Option<Sent>,
    /// Whether its answer waits until the agent says that a newer table is live.
    pub is_waiting: bool,
    /// Its answer, where it is compared.
    pub capture: Option<Box<Capture>>,
}
