//! What the filter keeps of one request from its headers to its end.

use crate::key::PartitionKey;
use std::cell::RefCell;

/// Most that a worker keeps for the next requests.
const MAX_SPARE: usize = 1_024;

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
}

/// What is kept of one pass of a request.
#[derive(Default)]
pub struct Flow {
    /// Since it was let through, until it is counted as ended.
    pub sent: Option<Sent>,
}

thread_local! {
    static SPARE: RefCell<Vec<Box<Flow>>> = const { RefCell::new(Vec::new()) };
}

impl Flow {
    /// An empty one: of those that ended on this worker, where there are some.
    pub fn begin() -> Box<Self> {
        SPARE.with(|spare| spare.borrow_mut().pop()).unwrap_or_default()
    }

    /// Keeps the room for another request.
    pub fn recycle(mut self: Box<Self>) {
        self.sent = None;
        SPARE.with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < MAX_SPARE {
                spare.push(self);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_used_again_and_empty() {
        let mut flow = Flow::begin();
        flow.sent = Some(Sent {
            cell: 1,
            tenant: None,
            since_ns: 2,
            may_retry: true,
        });
        let address = &*flow as *const Flow;
        flow.recycle();
        let again = Flow::begin();
        assert!(again.sent.is_none());
        assert_eq!(&*again as *const Flow, address);
    }
}
