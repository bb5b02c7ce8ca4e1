//! What a decision asks about, answered as a test wants it.

use cellplane_envoy::decide::Surroundings;

/// Cells as a test wants them.
#[derive(Clone, Debug, Default)]
pub struct Town {
    /// Cells that are not usable.
    pub down: Vec<u16>,
    /// By cell; those behind have none.
    pub loads: Vec<u64>,
    pub turn: u64,
    pub chance: u16,
    /// The cells that were asked about.
    pub asked: Vec<u16>,
}

impl Surroundings for Town {
    fn is_usable(&mut self, cell: u16) -> bool {
        self.asked.push(cell);
        !self.down.contains(&cell)
    }

    fn load(&self, cell: u16) -> u64 {
        self.loads.get(usize::from(cell)).copied().unwrap_or(0)
    }

    fn turn(&self) -> u64 {
        self.turn
    }

    fn chance(&self) -> u16 {
        self.chance
    }

    fn is_shadow_usable(&mut self, cell: u16) -> bool {
        !self.down.contains(&cell)
    }
}
