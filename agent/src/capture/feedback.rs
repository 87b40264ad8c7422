//! What the agent tells the kernel side about a connection: which bytes of a body need no event, and which
//! connections are HTTP no more.

use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use sockspan_ebpf::{Direction, Skip};

use super::{Error, pod::Plain};

/// The way back into the kernel.
pub struct Feedback {
    map: HashMap<MapData, u64, Plain<Skip>>,
}

impl Feedback {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let map = ebpf.take_map("SKIPS").ok_or(Error::NoMap("SKIPS"))?;
        let map = HashMap::try_from(map).map_err(|e| Error::Map("SKIPS", Box::new(e)))?;
        Ok(Self { map })
    }

    fn change(&mut self, socket: u64, generation: u64, change: impl FnOnce(&mut Skip)) {
        let mut skip = match self.map.get(&socket, 0) {
            Ok(Plain(skip)) if skip.generation == generation => skip,
            _ => Skip { generation, until: [0; 2], valid: [0; 2], ignore: 0, reserved: 0 },
        };
        change(&mut skip);
        // The map forgets the least recently used entry; the kernel side then merely tells more.
        let _ = self.map.insert(socket, Plain(skip), 0);
    }

    /// Bytes of `direction` before `position` need no event.
    pub fn skip(&mut self, socket: u64, generation: u64, direction: Direction, position: u32) {
        self.change(socket, generation, |skip| {
            let side = direction as usize;
            skip.until[side] = position;
            skip.valid[side] = 1;
        });
    }

    /// The connection carries something else from now on.
    pub fn ignore(&mut self, socket: u64, generation: u64) {
        self.change(socket, generation, |skip| skip.ignore = 1);
    }

    /// The connection is gone.
    pub fn forget(&mut self, socket: u64) {
        let _ = self.map.remove(&socket);
    }
}
