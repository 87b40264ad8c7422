//! Request ids that applications hand on, where threads prove nothing.

use proptest::prelude::*;

use super::*;

const ID: &str = "x-request-id: 5f2b1c3e-9a77-4c0e-8f54-1d2c3b4a5968";
const OTHER_ID: &str = "x-request-id: 0c9de1a4-5b52-4f6e-b2b8-77a1f0e6d3c1";
const CORRELATION: &str = "X-Correlation-ID: checkout-4711";
const BY_ID: Option<(u64, LinkEvidence)> = Some((1, LinkEvidence::ForwardedId));

/// What a call that carries these headers is known to belong to, where exchange 1 received `received`, 3 and 5 what else
/// is said, and all are open.
fn found(received: &[&str], sent: &str) -> Option<(u64, LinkEvidence)> {
    let mut web = Web::new();
    let servers: Vec<u64> = (0..received.len() as u64).map(|n| 1 + 2 * n).collect();
    for (connection, headers) in servers.iter().zip(received) {
        web.asks(MS, &server(FRONTEND, *connection).says(headers));
    }
    web.asks(2 * MS, &client(FRONTEND, 2).says(sent));
    web.answers(3 * MS, 2);
    servers.into_iter().for_each(|connection| web.answers(4 * MS, connection));
    web.settles(1_000 * MS);
    web.parent(2)
}

#[test]
fn an_id_that_one_request_brought_belongs_to_it() {
    assert_eq!(found(&[ID, OTHER_ID], ID), BY_ID);
    assert_eq!(found(&[ID, "a: b"], "X-REQUEST-ID: 5f2b1c3e-9a77-4c0e-8f54-1d2c3b4a5968"), BY_ID);
    assert_eq!(found(&[CORRELATION, ID], CORRELATION), BY_ID);
    // An id for the whole trace beside one for the request.
    let both = [ID, OTHER_ID].map(|id| format!("{id}\r\n{CORRELATION}"));
    assert_eq!(found(&[&both[0], &both[1]], &both[0]), BY_ID);
}

#[test]
fn what_is_not_the_same_is_another_id() {
    for sent in [
        OTHER_ID,
        "x-request-id: 5F2B1C3E-9A77-4C0E-8F54-1D2C3B4A5968",
        "x-request-id: 5f2b1c3e-9a77-4c0e-8f54-1d2c3b4a596",
        // Envoy's, where it traces: it writes into one digit how the trace was begun.
        "x-request-id: 5f2b1c3e-9a77-9c0e-8f54-1d2c3b4a5968",
        "x-correlation-id: 5f2b1c3e-9a77-4c0e-8f54-1d2c3b4a5968",
        "x-other-id: 5f2b1c3e-9a77-4c0e-8f54-1d2c3b4a5968",
        "a: b",
    ] {
        assert_eq!(found(&[ID], sent), None, "{sent}");
    }
}

#[test]
fn an_id_of_several_requests_says_nothing() {
    assert_eq!(found(&[ID, ID], ID), None, "a caller that asks twice in one trace");
    assert_eq!(
        found(&[ID, CORRELATION], &format!("{ID}\r\n{CORRELATION}")),
        None,
        "two requests in one call"
    );
    // A retry: the first is given up by its client and perhaps not by its server.
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 1).says(ID));
    web.ends(2 * MS, 1, false);
    web.asks(3 * MS, &server(FRONTEND, 3).says(ID));
    web.asks(4 * MS, &client(FRONTEND, 2).says(ID));
    web.answers_all(5 * MS, [2, 3]);
    web.exchanges.finish(&mut web.told);
    assert_eq!(web.parent(2), None);
}

#[test]
fn an_id_of_another_process_or_of_a_request_that_is_over_says_nothing() {
    let mut web = Web::new();
    web.asks(MS, &server(PRODUCT, 1).says(ID));
    web.asks(MS, &server(FRONTEND, 3).says(OTHER_ID));
    web.answers(2 * MS, 3);
    web.asks(3 * MS, &client(FRONTEND, 2).says(ID));
    web.asks(3 * MS, &client(FRONTEND, 4).says(OTHER_ID));
    web.answers_all(5 * MS, [2, 4, 1]);
    web.exchanges.finish(&mut web.told);
    assert_eq!([2, 4].map(|c| web.parent(c)), [None; 2]);
}

#[test]
fn a_value_too_short_or_too_long_is_no_id() {
    for (length, expected) in [(7, None), (8, BY_ID), (256, BY_ID), (257, None)] {
        let header = format!("x-request-id: {}", "7".repeat(length));
        assert_eq!(found(&[&header], &header), expected, "{length}");
    }
}

#[test]
fn all_other_evidence_is_stronger() {
    let call = || client(FRONTEND, 2).says(ID);
    let cases = [
        (call().thread(71), Some((3, LinkEvidence::Thread)), true),
        (call().because(Evidence::Connect, 71), Some((3, LinkEvidence::Connect)), true),
        (call().because(Evidence::Task, 71), Some((3, LinkEvidence::Task)), true),
        (call().thread(70), Some((1, LinkEvidence::Thread)), false),
        (call().says(&format!("{ID}\r\n{T}")), Some((3, LinkEvidence::Header)), true),
        (call().says(&format!("{ID}\r\n{OTHER}")), Some((0, LinkEvidence::Header)), true),
    ];
    for (n, (call, expected, overruled)) in cases.into_iter().enumerate() {
        let mut web = Web::new();
        web.asks(MS, &server(FRONTEND, 3).kernel(71).says(T));
        let mut web = web.calling(&server(FRONTEND, 1).kernel(70).says(ID), &call);
        web.answers(5 * MS, 3);
        web.settles(2_000 * MS);
        assert_eq!(web.parent(2), expected, "{n}");
        let counted: &[LinkEvidence] = if overruled { &[LinkEvidence::ForwardedId] } else { &[] };
        assert_eq!(web.exchanges.overruled, counted, "{n}");
    }
}

#[test]
fn it_tells_apart_what_one_trace_header_does_not() {
    let with = |id: &str| format!("{T}\r\n{id}");
    assert_eq!(found(&[&with(ID), &with(OTHER_ID)], &with(ID)), BY_ID);
}

#[test]
fn it_holds_when_threads_turn_out_to_prove_nothing() {
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 1).kernel(70).says(ID));
    web.asks(MS, &server(FRONTEND, 3).kernel(71));
    web.asks(2 * MS, &client(FRONTEND, 2).thread(71).says(ID));
    web.exchanges.distrust(FRONTEND);
    web.answers_all(3 * MS, [2, 1, 3]);
    web.settles(1_000 * MS);
    assert_eq!(web.parent(2), BY_ID);
}

#[test]
fn other_headers_count_from_the_next_request_on() {
    for (names, expected) in [(vec![], None), (vec!["x-correlation-id".to_owned()], BY_ID)] {
        let mut web = Web::new();
        web.exchanges.correlate(names.into());
        let web = web.calling(
            &server(FRONTEND, 1).says(&format!("{ID}\r\n{CORRELATION}")),
            &client(FRONTEND, 2).says(&format!("{ID}\r\n{CORRELATION}")),
        );
        assert_eq!(web.parent(2), expected);
    }
}

proptest! {
    /// Whatever servers received and calls carry, a link names the one exchange that received that value.
    #[test]
    fn never_two_candidates(
        steps in prop::collection::vec((any::<bool>(), 0u8..2, prop::collection::vec(0u8..4, 0..3), any::<bool>()), 1..40),
    ) {
        let name = |header: u8| ["x-request-id", "x-correlation-id"][usize::from(header % 2)];
        let mut web = Web::new();
        // What each server of a process received, in any request.
        let mut received: Vec<(u32, u64, Vec<u8>)> = Vec::new();
        let mut sent: Vec<(u32, u64, Vec<u8>)> = Vec::new();
        for (n, (serves, process, values, ends)) in steps.into_iter().enumerate() {
            let (at, connection) = (n as u64 * MS, n as u64 + 1);
            let tgid = FRONTEND + u32::from(process);
            let lines: Vec<String> =
                values.iter().map(|value| format!("{}: value-{:04}", name(*value), value / 2)).collect();
            let role = if serves { server } else { client };
            let asked = role(tgid, connection);
            web.asks(at, &if lines.is_empty() { asked } else { asked.says(&lines.join("\r\n")) });
            if ends || !serves {
                web.answers(at, connection);
            }
            let list = if serves { &mut received } else { &mut sent };
            list.push((tgid, connection, values));
        }
        let last = 1_000 * MS;
        received.iter().for_each(|(_, connection, _)| web.answers(last, *connection));
        web.exchanges.finish(&mut web.told);
        for (tgid, connection, values) in sent {
            let Some((parent, evidence)) = web.parent(connection) else { continue };
            prop_assert_eq!(evidence, LinkEvidence::ForwardedId);
            let before = || received.iter().filter(|(t, c, _)| *t == tgid && *c < connection);
            let holders = |value: u8| before().filter(|(_, _, got)| got.contains(&value)).count();
            let named = before().find(|(_, c, _)| *c == parent);
            let shared = named.is_some_and(|(_, _, got)| {
                got.iter().any(|value| values.contains(value) && holders(*value) == 1)
            });
            prop_assert!(shared, "{} under {}", connection, parent);
        }
    }
}
