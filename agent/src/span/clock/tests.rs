//! Monotonic times into wall time, while that is stepped and slewed.

use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;
const EPOCH: u64 = 1_800_000_000 * S;

#[test]
fn runs_with_the_monotonic_clock_both_ways() {
    let clock = Clock::new(10 * S, EPOCH);
    assert_eq!(clock.at(10 * S), EPOCH);
    assert_eq!(clock.at(12 * S), EPOCH + 2 * S);
    assert_eq!(clock.at(9 * S), EPOCH - S);
    assert_eq!(Clock::new(S, 0).at(0), 0);
}

#[test]
fn noise_changes_nothing() {
    let mut clock = Clock::new(0, EPOCH);
    for second in 1..100 {
        clock.observe(second * S, EPOCH + second * S + (second % 3) * 40_000 - 40_000);
    }
    assert_eq!(clock.at(200 * S), EPOCH + 200 * S);
}

#[test]
fn drift_is_followed_and_times_stay_in_order() {
    let mut clock = Clock::new(0, EPOCH);
    // 50 us a second: more than any clock drifts.
    let truth = |mono: u64| EPOCH + mono + mono / 20_000;
    let mut last = 0;
    for tenth in 1..6_000u64 {
        let mono = tenth * 100 * MS;
        if tenth % 10 == 0 {
            clock.observe(mono, truth(mono));
        }
        let at = clock.at(mono);
        assert!(at > last);
        assert!(at.abs_diff(truth(mono)) < 250_000, "{tenth}: {}", at.abs_diff(truth(mono)));
        last = at;
    }
    assert_eq!(clock.steps(), 0);
}

#[test]
fn a_small_setting_back_never_turns_time_round() {
    let mut clock = Clock::new(0, EPOCH);
    clock.observe(S, EPOCH + S - 50 * MS);
    let times: Vec<u64> = (0..100_000).map(|ms| clock.at(ms * MS)).collect();
    assert!(times.is_sorted());
    assert_eq!(clock.at(60 * S), EPOCH + 60 * S - 50 * MS);
}

#[test]
fn a_step_holds_from_its_sample_on_and_leaves_the_past_alone() {
    for wall in [EPOCH + 3_600 * S, EPOCH - 3_600 * S] {
        let mut clock = Clock::new(0, EPOCH);
        let before = clock.at(4 * S);
        clock.observe(5 * S, wall);
        assert_eq!(clock.steps(), 1);
        assert_eq!(clock.at(4 * S), before);
        assert_eq!(clock.at(6 * S), wall + S);
        // Across the step: the start as it was, the length as measured.
        assert_eq!(clock.interval(4 * S, 6 * S), (before, before + 2 * S));
    }
}

#[test]
fn an_older_sample_and_a_reversed_interval_do_no_harm() {
    let mut clock = Clock::new(10 * S, EPOCH);
    clock.observe(5 * S, 0);
    assert_eq!((clock.at(10 * S), clock.steps()), (EPOCH, 0));
    assert_eq!(clock.interval(11 * S, 10 * S), (EPOCH + S, EPOCH + S));
}

#[test]
fn the_history_is_bounded() {
    let mut clock = Clock::new(0, EPOCH);
    for n in 1..1_000 {
        clock.observe(n * S, EPOCH + n * 10 * S);
    }
    assert_eq!(clock.steps(), 999);
    assert!(clock.later.len() < SEGMENTS);
    assert_eq!(clock.at(999 * S), EPOCH + 9_990 * S);
}

#[test]
fn both_clocks_are_read_as_of_one_moment() {
    let (first, second) = (sample(), sample());
    assert!(first.0 < second.0 && first.0 > 0);
    let mut clock = Clock::new(first.0, first.1);
    clock.observe(second.0, second.1);
    assert_eq!(clock.steps(), 0);
}

proptest! {
    #[test]
    fn in_order_unless_stepped_and_never_negative(
        samples in prop::collection::vec((1..5 * S, -200_000_000i64..200_000_000), 1..100),
        pairs in prop::collection::vec((0..500 * S, 0..500 * S), 1..50),
    ) {
        let mut clock = Clock::new(0, EPOCH);
        let (mut mono, mut offset) = (0, 0i64);
        for (gap, change) in samples {
            mono += gap;
            offset += change;
            clock.observe(mono, EPOCH.saturating_add(mono).saturating_add_signed(offset));
        }
        for (a, b) in pairs {
            let (a, b) = (a.min(b), a.max(b));
            prop_assert!(clock.steps() > 0 || clock.at(a) <= clock.at(b));
            let (start, end) = clock.interval(a, b);
            prop_assert_eq!((start, end - start), (clock.at(a), b - a));
        }
    }

    #[test]
    fn never_panics(samples in prop::collection::vec((any::<u64>(), any::<u64>()), 1..20), at: u64) {
        let mut clock = Clock::new(0, 0);
        for (mono, wall) in samples {
            clock.observe(mono, wall);
        }
        let _ = (clock.at(at), clock.interval(at, at));
    }
}
