//! How full the kernel side's hash maps are, found by counting their keys.
//!
//! The kernel keeps no count. The keys are asked for one by one, which keeps no program waiting (reading many entries
//! at once would turn programs away from that processor meanwhile) but costs a system call each. So a map is counted
//! only when somebody looks, and the more rarely the longer it takes.

use std::{
    collections::HashSet,
    hash::Hash,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use aya::{
    Ebpf, Pod,
    maps::{HashMap, Map, MapData, MapError},
};

use crate::metrics::MapFill;

/// A map is counted no sooner than this after the last time.
const PAUSE: Duration = Duration::from_secs(10);
/// Nor sooner than so many times as long as the last count took: one part in so many of a processor is spent on it.
const SHARE: u32 = 2000;

/// Counts the keys; `None` if the kernel does not tell them.
type Count = Box<dyn Fn() -> Option<u64> + Send>;

/// A map and how full it was found.
struct Counted {
    fill: MapFill,
    count: Count,
    due: Instant,
}

/// Every hash map of the kernel side, LRU or not. Arrays are always full, a ring buffer has no entries.
pub struct Fills(Vec<Counted>);

impl Fills {
    /// To be called before any map is taken out of `ebpf`.
    pub(super) fn of(ebpf: &Ebpf) -> Self {
        let due = Instant::now();
        let mut fills = Vec::new();
        for (name, map) in ebpf.maps() {
            let (Map::HashMap(data) | Map::LruHashMap(data)) = map else { continue };
            match counted(data) {
                Ok((count, capacity)) => {
                    let fill = MapFill { name: name.to_lowercase(), entries: 0, capacity };
                    fills.push(Counted { fill, count, due });
                }
                Err(error) => tracing::warn!("the entries of the eBPF map {name} cannot be counted: {error}"),
            }
        }
        fills.sort_unstable_by(|a, b| a.fill.name.cmp(&b.fill.name));
        Self(fills)
    }

    /// How full the maps are, those that are due counted anew.
    pub fn look(&mut self) -> Vec<MapFill> {
        for Counted { fill, count, due } in &mut self.0 {
            let started = Instant::now();
            if started < *due {
                continue;
            }
            if let Some(entries) = count() {
                fill.entries = entries;
            }
            *due = Instant::now() + pause(started.elapsed());
        }
        self.0.iter().map(|counted| counted.fill.clone()).collect()
    }
}

/// How long a map is left alone after a count that took so long.
fn pause(took: Duration) -> Duration {
    PAUSE.max(took.saturating_mul(SHARE))
}

/// How to count a map's keys, and how many it has room for. The map stays its owner's.
fn counted(map: &MapData) -> Result<(Count, u64), Box<dyn std::error::Error>> {
    let own = MapData::from_fd(map.fd().as_fd().try_clone_to_owned()?)?;
    let info = own.info()?;
    let (key, value, capacity) = (info.key_size(), info.value_size(), u64::from(info.max_entries()));
    let map = Map::from_map_data(own)?;
    let count = match key {
        4 => of_key::<u32>(map, value, capacity),
        8 => of_key::<u64>(map, value, capacity),
        16 => of_key::<[u64; 2]>(map, value, capacity),
        _ => return Err(format!("its keys have {key} bytes").into()),
    };
    Ok((count?, capacity))
}

/// The keys are all that is asked for, but a map is opened by the sizes of both.
fn of_key<K: Pod + Eq + Hash + Send>(
    map: Map,
    value: u32,
    capacity: u64,
) -> Result<Count, Box<dyn std::error::Error>> {
    macro_rules! by_words {
        ($($words:literal)*) => {
            match value {
                $(size if size == 8 * $words => Ok(of::<K, $words>(map, capacity)?),)*
                size => Err(format!("its values have {size} bytes").into()),
            }
        };
    }
    by_words!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32)
}

fn of<K: Pod + Eq + Hash + Send, const WORDS: usize>(map: Map, capacity: u64) -> Result<Count, MapError> {
    let map: HashMap<MapData, K, [u64; WORDS]> = HashMap::try_from(map)?;
    Ok(Box::new(move || distinct(map.keys(), capacity)))
}

/// How many different keys there are. Where the key that was told last has gone since, the kernel begins anew: so none
/// counts twice, and there is an end to it.
fn distinct<K: Eq + Hash, E>(keys: impl Iterator<Item = Result<K, E>>, capacity: u64) -> Option<u64> {
    let most = usize::try_from(capacity).unwrap_or(usize::MAX);
    let mut seen = HashSet::new();
    for key in keys.take(most.saturating_mul(2)) {
        seen.insert(key.ok()?);
        if seen.len() >= most {
            break;
        }
    }
    Some(seen.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[u32]) -> impl Iterator<Item = Result<u32, ()>> + '_ {
        keys.iter().map(|key| Ok(*key))
    }

    #[test]
    fn keys_count_once_though_the_walk_began_anew() {
        assert_eq!(distinct(keys(&[]), 8), Some(0));
        assert_eq!(distinct(keys(&[5, 6, 7]), 8), Some(3));
        assert_eq!(distinct(keys(&[5, 6, 5, 6, 7]), 8), Some(3));
    }

    #[test]
    fn a_walk_ends_however_long_the_kernel_goes_on() {
        assert_eq!(distinct((0..).map(|n: u64| Ok::<_, ()>(n % 3)), 1000), Some(3));
        assert_eq!(distinct((0..).map(Ok::<u64, ()>), 1000), Some(1000), "no more than there is room for");
    }

    #[test]
    fn a_walk_that_fails_is_no_count() {
        assert_eq!(distinct([Ok(1), Err("gone")].into_iter(), 8), None);
    }

    #[test]
    fn counting_takes_a_small_share_of_the_time() {
        assert_eq!(pause(Duration::from_millis(1)), Duration::from_secs(10));
        assert_eq!(pause(Duration::from_millis(35)), Duration::from_secs(70));
    }
}
