//! What holds of any stream: the same spans however it was batched and however its events were late, and no panic
//! whatever becomes of its bytes.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sockspan::{
    metrics::{DropReason, Side},
    record::Input,
    span::Span,
};

use super::{
    MODES, MS,
    expected::CASES,
    stream::{self, Part},
};

fn all() -> Vec<PathBuf> {
    CASES.iter().flat_map(|case| MODES.map(|mode| stream::path(case.name, mode))).collect()
}

fn any_stream() -> impl Strategy<Value = PathBuf> {
    prop::sample::select(all())
}

/// The spans of a stream that `write` writes.
fn spans_of(write: impl FnOnce(&Path)) -> Vec<Span> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stream");
    write(&path);
    stream::spans(&path)
}

/// Brings the parts into the order in which each comes `late` after its time; the events of one moment stay
/// together. What is no event keeps its place in time.
fn delay(parts: &[Part], late: impl Fn(u64) -> u64) -> Vec<Part> {
    let mut now = 0;
    let mut keyed: Vec<(u64, Part)> = Vec::new();
    for part in parts {
        let key = match part {
            Part::Event { at, .. } => at + late(*at),
            Part::Other(Input::Clock { monotonic, .. }) => *monotonic,
            Part::Other(_) => now,
        };
        now = now.max(key);
        keyed.push((key, part.clone()));
    }
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, part)| part).collect()
}

/// A number that looks like chance and follows from its input.
fn mix(seed: u64, n: u64) -> u64 {
    let x = (seed ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 20
}

#[test]
fn a_stream_gives_the_same_spans_each_time() {
    for path in all() {
        assert_eq!(stream::spans(&path), stream::spans(&path), "{}", path.display());
    }
}

#[test]
fn one_batch_or_one_for_each_event() {
    for path in all() {
        let (parts, seed) = stream::read(&path);
        let whole = stream::spans(&path);
        for alone in [true, false] {
            let again = spans_of(|to| stream::write(to, seed, &parts, |_| alone));
            assert_eq!(again, whole, "{}", path.display());
        }
    }
}

#[test]
fn every_exchange_of_a_whole_stream_is_a_span() {
    for path in all() {
        let (spans, metrics) = stream::counted(&path).unwrap();
        assert_eq!(metrics.exchanges.sum(), spans.len() as u64, "{}: {metrics:?}", path.display());
    }
}

#[test]
fn what_is_open_at_the_end_is_counted() {
    for mode in MODES {
        let (parts, seed) = stream::read(&stream::path("checkout", mode));
        let folder = tempfile::tempdir().unwrap();
        let mut open = [0, 0];
        for end in 0..parts.len() {
            let to = folder.path().join(end.to_string());
            stream::write(&to, seed, &parts[..end], |_| false);
            let (_, metrics) = stream::counted(&to).unwrap();
            let most =
                |side, before: u64| before.max(metrics.exchanges_dropped.get(side, DropReason::Shutdown));
            open = [most(Side::Server, open[0]), most(Side::Client, open[1])];
        }
        // The frontend's is open while it asks each of the others.
        assert_eq!(open, [2, 1], "{mode}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn batches_may_end_anywhere(path in any_stream(), seed: u64) {
        let (parts, ids) = stream::read(&path);
        let again = spans_of(|to| stream::write(to, ids, &parts, |n| mix(seed, n as u64).is_multiple_of(3)));
        prop_assert_eq!(again, stream::spans(&path));
    }

    #[test]
    fn events_may_be_late(path in any_stream(), seed: u64, most in 1..2 * MS) {
        let (parts, ids) = stream::read(&path);
        let late = delay(&parts, |at| mix(seed, at) % most);
        let again = spans_of(|to| stream::write(to, ids, &late, |n| mix(seed, n as u64).is_multiple_of(5)));
        prop_assert_eq!(again, stream::spans(&path));
    }

    #[test]
    fn missing_events_invent_nothing(path in any_stream(), seed: u64, share in 2u64..20) {
        let (parts, ids) = stream::read(&path);
        let left: Vec<Part> = parts
            .into_iter()
            .enumerate()
            .filter(|(n, part)| matches!(part, Part::Other(_)) || !mix(seed, *n as u64).is_multiple_of(share))
            .map(|(_, part)| part)
            .collect();
        let fewer = spans_of(|to| stream::write(to, ids, &left, |_| false));
        let whole = stream::spans(&path);
        prop_assert!(fewer.len() <= whole.len());
        for span in &fewer {
            prop_assert!(super::is_part_of(span, &fewer, &whole), "{span:?}\nis not what happened:\n{whole:?}");
        }
    }

    #[test]
    fn damage_is_survived(path in any_stream(), hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
        let mut bytes = std::fs::read(&path).unwrap();
        for (place, value) in hits {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        survives(&bytes);
    }

    #[test]
    fn damaged_events_are_survived(path in any_stream(), seed: u64, every in 8u64..4096) {
        let (mut parts, ids) = stream::read(&path);
        for (n, part) in parts.iter_mut().enumerate() {
            // Their lengths stay: what is damaged gets past the parsing of frames.
            let Part::Event { bytes, .. } = part else { continue };
            for (i, byte) in bytes.iter_mut().enumerate().skip(5) {
                let chance = mix(seed, ((n as u64) << 32) | i as u64);
                if chance.is_multiple_of(every) {
                    *byte = (chance >> 13) as u8;
                }
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("stream");
        stream::write(&to, ids, &parts, |_| false);
        prop_assert!(stream::try_spans(&to).is_ok());
    }

    #[test]
    fn a_stream_may_end_anywhere(path in any_stream(), place: prop::sample::Index) {
        let bytes = std::fs::read(&path).unwrap();
        survives(&bytes[..place.index(bytes.len())]);
    }
}

/// Spans or an error, but no panic.
fn survives(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stream");
    std::fs::write(&path, bytes).unwrap();
    if let Err(error) = stream::try_spans(&path) {
        assert!(error.to_string().contains("stream"), "{error}");
    }
}
