//! What an event loop's calls and responses prove of each other, case by case; and many at once in [`simulated`].

mod simulated;

use std::collections::HashMap;

use sockspan_ebpf::via::WORK;

use super::*;
use crate::{exchange::Seed, span::SpanKind};

const MS: Nanos = 1_000_000;
const LOOP: u32 = 7;

/// One thread, a millisecond from each turn to the next. Servers' requests have small numbers, calls larger ones.
struct Play {
    doubts: Doubts,
    now: Nanos,
    served: HashMap<u64, Rc<Identity>>,
    links: HashMap<u64, Doubt>,
}

fn identity(n: u64) -> Rc<Identity> {
    Rc::new(Identity::new(&Seed([1; 16]), n, 0, SpanKind::Server, 10, None))
}

impl Play {
    fn new() -> Self {
        Self { doubts: Doubts::default(), now: MS, served: HashMap::new(), links: HashMap::new() }
    }

    fn turn(&mut self) -> Nanos {
        self.now += MS;
        self.now
    }

    fn reads(&mut self, id: u64) {
        let (at, identity) = (self.turn(), identity(id));
        self.doubts.serves(id, LOOP, &identity, at);
        self.served.insert(id, identity);
    }

    /// Time goes by, and what is too old is let go.
    fn passes(&mut self, time: Nanos) {
        let end = self.now + time;
        while self.now < end {
            self.now = end.min(self.now + 100 * MS);
            self.doubts.tick(self.now);
        }
    }

    /// A call in the context of `parent`, to which the end of `via` led.
    fn calls(&mut self, id: u64, parent: u64, via: u64) {
        let at = self.turn();
        let link = self.doubts.calls(id, (parent, via), LOOP, at, true);
        self.links.extend(link.map(|link| (id, link)));
    }

    fn sends(&mut self, exchange: u64, context: u64, via: u64) {
        let at = self.turn();
        self.doubts.answers(&Answer { exchange, context, via, tid: LOOP, at });
    }

    /// The whole response, in one piece.
    fn answers(&mut self, exchange: u64, context: u64, via: u64) {
        self.sends(exchange, context, via);
        self.served[&exchange].ended.set(Some(self.now));
    }

    fn verdict(&self, call: u64) -> Verdict {
        self.doubts.verdict(&self.links[&call], false)
    }

    fn last<const N: usize>(&self, calls: [u64; N]) -> [Verdict; N] {
        calls.map(|call| self.doubts.verdict(&self.links[&call], true))
    }
}

use Verdict::{Keep, Wait};
const CONTRADICTED: Verdict = Verdict::Withdraw(Withdrawal::Contradicted);
const UNPROVEN: Verdict = Verdict::Withdraw(Withdrawal::Unproven);
const UNANSWERED: Verdict = Verdict::Withdraw(Withdrawal::Unanswered);

#[test]
fn calls_that_lead_to_their_own_answer_hold() {
    let mut play = Play::new();
    play.reads(1);
    play.reads(2);
    for (first, exchange) in [(10, 1), (20, 2)] {
        play.calls(first, exchange, 0);
        play.calls(first + 1, exchange, first);
        play.calls(first + 2, exchange, first + 1);
    }
    assert_eq!([10, 11, 12].map(|c| play.verdict(c)), [Keep, Wait, Wait], "none is answered");
    play.answers(1, 1, 12);
    assert_eq!([11, 12].map(|c| play.verdict(c)), [Wait, Keep], "the other may still show that 11 led to it");
    play.answers(2, 2, 22);
    assert_eq!([10, 11, 12, 20, 21, 22].map(|c| play.verdict(c)), [Keep; 6]);
}

#[test]
fn who_waited_for_anothers_lookup_has_made_what_led_to_its_answer() {
    let mut play = Play::new();
    play.reads(1);
    play.calls(10, 1, 0); // both wait for it
    play.reads(2);
    play.calls(11, 1, 10); // 1's
    play.calls(12, 1, 10); // 2's
    play.answers(2, 1, 12);
    play.answers(1, 1, 11);
    assert_eq!([10, 11, 12].map(|c| play.verdict(c)), [Keep, Keep, CONTRADICTED]);
}

#[test]
fn a_chain_of_others_is_withdrawn_up_to_what_is_older_than_they_are() {
    let mut play = Play::new();
    play.reads(1);
    play.calls(10, 1, 0);
    play.reads(2);
    play.calls(11, 1, 10); // 2 waited for a place
    play.reads(3);
    play.calls(12, 1, 11); // and 3 for that one
    play.answers(3, 1, 12);
    assert_eq!(play.last([10, 11, 12]), [Keep, UNANSWERED, CONTRADICTED], "3 came after 11");
    play.answers(2, 0, 0);
    play.answers(1, 1, 10);
    assert_eq!(play.last([10, 11, 12]), [Keep, UNPROVEN, CONTRADICTED]);
}

#[test]
fn what_a_timer_has_answered_proves_nothing() {
    let mut play = Play::new();
    play.reads(1);
    play.calls(10, 1, 0);
    play.reads(2);
    play.calls(11, 1, 10);
    play.calls(12, 1, 10);
    play.answers(1, 0, 0);
    play.answers(2, 0, 0);
    assert_eq!([10, 11, 12].map(|c| play.verdict(c)), [Keep, UNPROVEN, UNPROVEN]);
}

#[test]
fn of_calls_made_at_once_those_hold_that_were_not_the_last() {
    let mut play = Play::new();
    play.reads(2);
    play.calls(20, 2, 0);
    play.reads(1);
    play.calls(10, 1, 0);
    for call in [11, 12, 13] {
        play.calls(call, 1, 10);
    }
    play.answers(1, 1, 12);
    assert_eq!([11, 12, 13].map(|c| play.verdict(c)), [Wait, Keep, Wait]);
    play.answers(2, 2, 20);
    assert_eq!([11, 12, 13].map(|c| play.verdict(c)), [Keep; 3]);
    // Not so where exchanges wait for each other.
    play.reads(3);
    play.answers(3, 1, 13);
    assert_eq!([11, 12, 13].map(|c| play.verdict(c)), [UNPROVEN, Keep, UNPROVEN]);
}

#[test]
fn alone_on_its_thread_a_call_belongs_to_whose_context_it_is_in() {
    let mut play = Play::new();
    play.reads(1);
    play.calls(10, 1, 0);
    play.calls(11, 1, 10);
    play.reads(2);
    assert_eq!(play.verdict(11), Keep, "2 came later");
}

#[test]
fn a_stream_that_has_begun_before_puts_nothing_in_doubt() {
    let mut play = Play::new();
    play.reads(2);
    play.sends(2, 2, 0);
    play.reads(1);
    play.calls(10, 1, 0);
    play.calls(11, 1, 10);
    play.sends(2, 0, 0);
    assert_eq!(play.verdict(11), Keep);
}

#[test]
fn a_request_that_wakes_another_has_not_made_its_calls() {
    let mut play = Play::new();
    play.reads(2);
    play.reads(1);
    play.calls(20, 1, 0); // 2's
    play.answers(2, 1, 20);
    assert_eq!(play.verdict(20), Wait, "1 may have made it, and 2 waited for it too");
    play.answers(1, 1, 0);
    assert_eq!(play.verdict(20), CONTRADICTED);
}

#[test]
fn a_call_is_contradicted_however_long_after_its_context_is_over() {
    for pause in [0, 4_000 * MS] {
        let mut play = Play::new();
        play.reads(2);
        play.reads(1);
        play.calls(20, 1, 0); // 2's
        play.answers(1, 1, 0);
        play.passes(pause);
        play.answers(2, 1, 20);
        assert_eq!(play.verdict(20), CONTRADICTED, "{pause}");
    }
}

#[test]
fn what_was_proven_holds_however_long_a_call_takes() {
    for pause in [0, 30_000 * MS] {
        let mut play = Play::new();
        play.reads(1);
        play.reads(2);
        [11, 12].into_iter().for_each(|call| play.calls(call, 1, 0));
        [21, 22].into_iter().for_each(|call| play.calls(call, 1, 11)); // at once, of which one is waited for
        play.answers(2, 2, 0);
        play.answers(1, 1, 21);
        let before = [21, 22].map(|call| play.verdict(call));
        play.passes(pause);
        assert_eq!([21, 22].map(|call| play.verdict(call)), before, "{pause}");
    }
}

#[test]
fn what_nobody_asks_for_is_forgotten() {
    let mut play = Play::new();
    for id in 1..1_000 {
        play.reads(id);
        play.calls(id + 10_000, id, 0);
        play.answers(id, id, id + 10_000);
    }
    play.links.clear();
    play.passes(30_000 * MS);
    let doubts = &play.doubts;
    assert_eq!((doubts.served.len(), doubts.calls.len(), doubts.ran.len()), (0, 0, 0));
}

#[test]
fn what_follows_shared_work_is_as_uncertain_as_what_follows_a_shared_call() {
    let mut play = Play::new();
    play.reads(1);
    play.reads(2);
    play.calls(11, 1, WORK);
    play.calls(12, 1, WORK);
    play.answers(2, 1, 12);
    play.answers(1, 1, 11 | WORK);
    assert_eq!([11, 12].map(|c| play.verdict(c)), [UNPROVEN, CONTRADICTED], "2 may have made 11 as well");
}

#[test]
fn what_is_not_known_is_not_waited_for_forever() {
    let mut play = Play::new();
    play.reads(1);
    play.reads(2);
    play.calls(10, 1, 0);
    play.calls(11, 1, 10);
    assert_eq!((play.verdict(11), play.last([11])), (Wait, [UNANSWERED]));
    play.answers(1, 1, 11);
    assert_eq!(play.verdict(11), Keep);
    // A context that nothing is known of any more.
    play.calls(12, 99, 10);
    assert_eq!(play.verdict(12), UNPROVEN);
}

#[test]
fn threads_and_aliases() {
    let mut play = Play::new();
    play.reads(1);
    let one = play.served[&1].clone();
    play.doubts.alias(3, &one, play.now);
    play.calls(10, 3, 0);
    play.answers(1, 3, 10);
    assert_eq!(play.verdict(10), Keep, "3 is another name of 1");
    // Who is served by another thread makes no calls here.
    let (at, elsewhere) = (play.turn(), identity(4));
    play.doubts.serves(4, LOOP + 1, &elsewhere, at);
    play.reads(5);
    play.calls(50, 5, 0);
    play.calls(51, 5, 50);
    assert_eq!(play.verdict(51), Keep);
}
