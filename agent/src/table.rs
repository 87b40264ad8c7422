//! Hash tables for what the kernel and the agent number themselves.
//!
//! Their keys are ids, addresses and sequence numbers, several lookups an event: the standard library's hash would be a
//! tenth of the pipeline. What others choose, as ids of traces, stays in the standard library's tables: it withstands keys
//! that were made to collide.

/// The hash.
pub type Quick = foldhash::fast::RandomState;
/// A table of values by key.
pub type Table<K, V> = std::collections::HashMap<K, V, Quick>;
/// A set of keys.
pub type Set<K> = std::collections::HashSet<K, Quick>;
