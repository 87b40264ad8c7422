//! Tasks that work for what their makers worked for.

use sockspan_ebpf::{HEIR, Inheritance};

use super::*;

const A: u64 = 70;
const CHILD: u64 = HEIR | 71;
const GRANDCHILD: u64 = HEIR | 72;

fn ends(web: &mut Web, at: Nanos, heir: u64, of: u64) {
    web.exchanges.inherited(&Inheritance { kind: 10, reserved: [0; 3], tgid: FRONTEND, heir, of, at });
}

/// The exchange A on connection 1, and a call on connection 2 in the name of `maker`; A is answered after 5 ms.
fn web(maker: u64) -> Web {
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 1).kernel(A));
    web.asks(2 * MS, &client(FRONTEND, 2).because(Evidence::Task, maker).wire(5));
    web.asks(2 * MS, &server(PRODUCT, 3).wire(5));
    web.answers_all(3 * MS, [3, 2]);
    web.answers(5 * MS, 1);
    web
}

const LINKED: Option<(u64, LinkEvidence)> = Some((1, LinkEvidence::Task));

#[test]
fn what_a_task_did_is_its_exchanges_once_it_has_ended() {
    // Before the exchange is over, and a moment after.
    for at in [4 * MS, 6 * MS] {
        let mut web = web(CHILD);
        web.settles(6 * MS);
        ends(&mut web, at, CHILD, A);
        web.settles(1_000 * MS);
        assert_eq!(web.parent(2), LINKED);
        assert_eq!([2, 3].map(|c| web.trace(c)), [web.trace(1); 2]);
    }
}

#[test]
fn a_task_that_goes_on_may_work_for_others() {
    let mut web = web(CHILD);
    web.settles(1_000 * MS);
    assert!(web.is_told(1) && !web.is_told(2) && !web.is_told(3), "its end may still come");
    ends(&mut web, 1_000 * MS, CHILD, A);
    web.settles(1_300 * MS);
    assert_eq!((web.parent(2), web.is_told(3)), (None, true));
}

#[test]
fn nobody_waits_for_long_and_only_once() {
    let mut web = web(CHILD);
    (1..20).for_each(|n| web.settles(3 * MS + n * PATIENCE / 10));
    assert!(web.is_told(2) && web.parent(2).is_none());
    let later = 3 * PATIENCE;
    web.asks(later, &client(FRONTEND, 4).because(Evidence::Task, CHILD));
    web.answers(later, 4);
    web.settles(later + 300 * MS);
    assert!(web.is_told(4));
    ends(&mut web, later + 300 * MS, CHILD, A);
    assert_eq!((web.parent(2), web.parent(4)), (None, None));
}

#[test]
fn tasks_of_tasks_end_in_any_order() {
    for [first, second] in [[(GRANDCHILD, CHILD), (CHILD, A)], [(CHILD, A), (GRANDCHILD, CHILD)]] {
        let mut web = web(GRANDCHILD);
        ends(&mut web, 4 * MS, first.0, first.1);
        ends(&mut web, 4 * MS, second.0, second.1);
        web.settles(1_000 * MS);
        assert_eq!(web.parent(2), LINKED);
    }
    // The one between goes on.
    let mut web = web(GRANDCHILD);
    ends(&mut web, 4 * MS, GRANDCHILD, CHILD);
    (1..20).for_each(|n| web.settles(3 * MS + n * PATIENCE / 10));
    ends(&mut web, 3 * PATIENCE, CHILD, A);
    assert_eq!((web.parent(2), web.is_told(2)), (None, true));
}

#[test]
fn an_exchange_that_was_not_seen_is_nobodys() {
    let mut web = web(CHILD);
    ends(&mut web, 4 * MS, CHILD, 99);
    web.settles(300 * MS);
    assert_eq!((web.parent(2), web.is_told(2)), (None, true));
}
