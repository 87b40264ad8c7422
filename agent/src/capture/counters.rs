//! What the kernel side counted, and how full its maps are.

use std::sync::{Mutex, PoisonError};

use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray},
};
use sockspan_ebpf::Counter;

use super::{Error, fill::Fills};
use crate::metrics::MapFill;

/// The counters, one set a CPU in the kernel, summed here.
pub struct Counters {
    map: PerCpuArray<MapData, u64>,
    fills: Mutex<Fills>,
}

impl Counters {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let fills = Mutex::new(Fills::of(ebpf));
        let map = ebpf.take_map("COUNTERS").ok_or(Error::NoMap("COUNTERS"))?;
        let map = PerCpuArray::try_from(map).map_err(|e| Error::Map("COUNTERS", Box::new(e)))?;
        Ok(Self { map, fills })
    }

    /// A counter's value since the programs were loaded; 0 if it cannot be read.
    pub fn get(&self, counter: Counter) -> u64 {
        self.map.get(&(counter as u32), 0).map_or(0, |values| values.iter().sum())
    }

    /// How full the maps are. Takes a microsecond or two for each entry, where they are counted.
    pub fn fills(&self) -> Vec<MapFill> {
        self.fills.lock().unwrap_or_else(PoisonError::into_inner).look()
    }
}
