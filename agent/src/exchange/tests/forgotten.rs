//! What is over is forgotten soon; but not that it was there, where something would follow from that.

use sockspan_ebpf::HEIR;

use super::*;

const ID: &str = "x-request-id: 5f2b1c3e-9a77-4c0e-8f54-1d2c3b4a5968";
const OTHER_ID: &str = "x-correlation-id: 91a4f0de-3c55-4f0f-a8e1-7b6c5d4e3f20";

impl Web {
    /// Time goes by as in the agent: something is looked at again and again.
    fn passes(&mut self, from: Nanos, to: Nanos) {
        let mut now = from;
        while now < to {
            self.settles(now);
            now += 100 * MS;
        }
    }
}

/// A process receives a context, answers, and hands the same on later, while it serves another request of that trace.
fn late_retry(mut web: Web) -> Web {
    web.asks(MS, &server(FRONTEND, 1).says(T));
    web.asks(2 * MS, &server(FRONTEND, 2).says(T_FURTHER));
    web.answers(3 * MS, 1);
    web.passes(4 * MS, 20_000 * MS);
    web.asks(20_000 * MS, &client(FRONTEND, 3).says(T));
    web.answers_all(20_001 * MS, [3, 2]);
    web.exchanges.finish(&mut web.told);
    web
}

#[test]
fn who_hands_on_what_came_long_ago_has_no_tracer() {
    let web = late_retry(Web::new());
    assert_eq!((web.exchanges.signs.len(), web.told.len()), (0, 3));
    // Another request's thread carries it on.
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 1).says(T));
    web.answers(2 * MS, 1);
    web.passes(3 * MS, 20_000 * MS);
    web.asks(20_000 * MS, &server(FRONTEND, 2).kernel(70));
    web.asks(20_001 * MS, &client(FRONTEND, 3).thread(70).says(T));
    web.answers_all(20_002 * MS, [3, 2]);
    web.exchanges.finish(&mut web.told);
    assert_eq!((web.exchanges.signs.len(), web.told.len()), (0, 3));
}

#[test]
fn a_context_of_a_request_that_is_over_is_no_other_requests() {
    assert!(late_retry(Web::with_tracers()).parent(3).is_none_or(|(parent, _)| parent != 2));
}

#[test]
fn an_id_of_a_request_that_is_over_still_contradicts_another() {
    for pause in [0, 20_000 * MS] {
        let mut web = Web::new();
        web.asks(MS, &server(FRONTEND, 1).says(ID));
        web.asks(2 * MS, &server(FRONTEND, 2).says(OTHER_ID));
        web.answers(3 * MS, 1);
        web.passes(4 * MS, pause);
        web.asks(pause + 5 * MS, &client(FRONTEND, 3).says(&format!("{ID}\r\n{OTHER_ID}")));
        web.answers_all(pause + 6 * MS, [3, 2]);
        web.exchanges.finish(&mut web.told);
        assert_eq!(web.parent(3), None, "after {pause}");
    }
}

#[test]
fn an_id_that_comes_again_long_after_is_nobodys() {
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 1).says(ID));
    web.answers(2 * MS, 1);
    web.passes(3 * MS, 60_000 * MS);
    web.asks(60_000 * MS, &server(FRONTEND, 2).says(ID));
    web.asks(60_001 * MS, &client(FRONTEND, 3).says(ID));
    web.answers_all(60_002 * MS, [3, 2]);
    web.exchanges.finish(&mut web.told);
    assert_eq!(web.parent(3), None);
}

#[test]
fn an_heir_of_a_request_that_is_over_is_not_waited_for() {
    const H1: u64 = HEIR | 1;
    const H2: u64 = HEIR | 2;
    let ends = |heir, of, at| Inheritance { kind: 0, reserved: [0; 3], tgid: FRONTEND, heir, of, at };
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 1).kernel(70));
    web.exchanges.inherited(&ends(H1, 70, 2 * MS));
    web.answers(3 * MS, 1);
    web.passes(4 * MS, 10_000 * MS);
    web.asks(10_000 * MS, &client(FRONTEND, 2).because(Evidence::Task, H2));
    web.answers(10_001 * MS, 2);
    web.exchanges.inherited(&ends(H2, H1, 10_002 * MS));
    web.passes(10_002 * MS, 10_600 * MS);
    assert_eq!((web.is_told(2), web.parent(2)), (true, None));
}

#[test]
fn a_long_request_is_remembered_as_long_as_it_takes() {
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 1).kernel(70).says(T));
    web.passes(2 * MS, 600_000 * MS);
    web.asks(600_000 * MS, &client(FRONTEND, 2).thread(70));
    web.asks(600_001 * MS, &client(FRONTEND, 3).says(T));
    web.answers_all(600_002 * MS, [2, 3, 1]);
    web.exchanges.finish(&mut web.told);
    assert_eq!([2, 3].map(|n| web.parent(n).map(|(parent, _)| parent)), [Some(1); 2]);
}
