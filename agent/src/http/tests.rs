//! Conversations told chunk by chunk.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Chunk, Conversation,
    Direction::{Request, Response},
    Limits, LossReason, Signal,
    talk::Talk,
};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const EXCHANGE: &str = "0:began, 0:GET /a, 0:sent 0, 0:answer, 0:200, 0:done 2";

#[test]
fn one_exchange_with_times() {
    let mut talk = Talk::new();
    talk.says(Request, GET).goes_on(Response, &OK[..20]).goes_on(Response, &OK[20..]);
    assert_eq!(talk.out[0], Signal::RequestBegan { n: 0, position: 1 << 33, at: 9 });
    assert!(matches!(talk.out[2], Signal::RequestEnded { at: 10, .. }));
    assert_eq!(talk.out[3], Signal::ResponseBegan { n: 0, at: 19 });
    assert!(matches!(talk.out[5], Signal::ResponseEnded { at: 30, complete: true, .. }));
    assert_eq!(talk.told(), EXCHANGE);
}

#[test]
fn a_head_in_one_piece_is_not_copied() {
    let mut conversation = Conversation::new(Arc::new(Limits::default()));
    let (head, mut out) = (Bytes::from_static(GET.as_bytes()), Vec::new());
    let len = head.len() as u64;
    let chunk = Chunk { len, head: head.clone(), starts_message: true, ..Chunk::default() };
    conversation.push(Request, chunk, &mut out);
    let Some(Signal::RequestHead { head: parsed, .. }) = out.get(1) else { panic!("{out:?}") };
    assert_eq!(parsed.target.as_ptr(), head[4..].as_ptr());
    assert_eq!(parsed.headers.get("HOST").map(|v| v.as_ptr()), Some(head[23..].as_ptr()));
    assert_eq!(conversation.cost(), size_of::<Conversation>() + conversation.pending.cost());
}

#[test]
fn keep_alive_and_bodies_of_known_length() {
    let mut talk = Talk::new();
    talk.says(Request, "POST /p HTTP/1.1\r\nContent-Length: 5\r\n\r\nhe").goes_on(Request, "llo");
    talk.says(Response, OK).says(Request, GET).says(Response, OK);
    let told = talk.told();
    assert!(told.starts_with("0:began, 0:POST /p, 0:sent 5, 0:answer, 0:200, 0:done 2, 1:began"), "{told}");
    assert!(told.ends_with("1:done 2"), "{told}");
}

#[test]
fn pipelined_requests_pair_in_order() {
    let mut talk = Talk::new();
    talk.says(Request, &[GET, "HEAD /b HTTP/1.1\r\n\r\n", "GET /c HTTP/1.0\r\n\r\n"].concat());
    assert_eq!(
        talk.told(),
        "0:began, 0:GET /a, 0:sent 0, 1:began, 1:HEAD /b, 1:sent 0, 2:began, 2:GET /c, 2:sent 0"
    );
    let head = "HTTP/1.1 404 Not Found\r\nContent-Length: 999\r\n\r\n";
    talk.says(Response, &[OK, head, "HTTP/1.0 200 OK\r\n\r\nabc"].concat()).goes_on(Response, "de");
    assert_eq!(talk.told(), "0:answer, 0:200, 0:done 2, 1:answer, 1:404, 1:done 0, 2:answer, 2:200");
    assert_eq!(talk.conversation.until(Response), Some(u64::MAX));
    talk.ends(Response);
    assert_eq!(talk.told(), "2:done 5");
}

#[test]
fn chunked_with_extensions_and_trailers() {
    let mut talk = Talk::new();
    talk.says(Request, "POST /c HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: gzip, chunked\r\n\r\n");
    talk.goes_on(Request, "5;a=\"b\"\r\nhello\r\n0A \r\n0123456789\r\n000\r\nX-T: 1\r\nY: 2\r\n\r");
    assert_eq!(talk.told(), "0:began, 0:POST /c");
    talk.goes_on(Request, "\n");
    assert_eq!(talk.told(), "0:sent 15");
    talk.says(Response, "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3\nabc\n0\n\n");
    assert_eq!(talk.told(), "0:answer, 0:200, 0:done 3");
}

#[test]
fn broken_chunks_withdraw_exactness() {
    for broken in ["zz\r\n", "\r\n", "11111111111111111\r\n", "1\r\nab"] {
        let mut talk = Talk::new();
        talk.says(Request, GET).says(Response, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        talk.goes_on(Response, broken).told();
        talk.says(Request, GET).says(Response, OK);
        assert!(talk.told().starts_with("0:done ~?, 1:began, 1:GET /a, 1:sent 0, 1:answer, 1:200, 1:done 2"));
    }
}

#[test]
fn bodiless_responses_ignore_their_length() {
    for status in ["204 No Content", "304 Not Modified"] {
        let mut talk = Talk::new();
        talk.says(Request, GET).says(Response, &format!("HTTP/1.1 {status}\r\nContent-Length: 9\r\n\r\n"));
        assert!(talk.told().ends_with("0:done 0"));
    }
}

#[test]
fn expect_continue() {
    let mut talk = Talk::new();
    talk.says(Request, "PUT /x HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    talk.says(Response, "HTTP/1.1 100 Continue\r\n\r\n").goes_on(Request, "abc");
    talk.says(
        Response,
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length:0\r\n\r\n",
    );
    let expected = "0:began, 0:PUT /x, 0:info 100, 0:sent 3, 0:info 103, 0:answer, 0:201, 0:done 0";
    assert_eq!(talk.told(), expected);
}

#[test]
fn upgrades_and_tunnels() {
    let mut talk = Talk::new();
    talk.says(Request, GET).says(Response, "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n\x01\x02");
    assert!(talk.told().ends_with("0:101, 0:done 0, 0:to websocket"));
    talk.says(Request, GET).says(Response, OK).closes();
    assert_eq!(talk.told(), "");
    let connect = "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n";
    let mut talk = Talk::new();
    talk.says(Request, connect).says(Response, "HTTP/1.1 407 No\r\nContent-Length: 1\r\n\r\nx");
    talk.says(Request, connect).says(Response, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    assert!(talk.told().ends_with(
        "0:407, 0:done 1, 1:began, 1:CONNECT h:443, 1:sent 0, 1:answer, 1:200, 1:done 0, 1:tunnel"
    ));
    assert_eq!(talk.conversation.until(Request), Some(u64::MAX));
}

#[test]
fn content_lengths_that_repeat_or_contradict() {
    let with = |fields: &str| {
        let mut talk = Talk::new();
        talk.says(Request, GET).says(Response, &format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nabcde"));
        talk.says(Request, GET).told().replace(EXCHANGE.rsplit_once(", ").unwrap().0, "")
    };
    assert!(with("Content-Length: 5\r\nContent-Length: 5").starts_with(", 0:done 5, 1:"));
    assert!(with("Content-Length: 5, 5").starts_with(", 0:done 5, 1:"));
    for bad in [
        "Content-Length: 5\r\nContent-Length: 4",
        "Content-Length: +5",
        "Content-Length: 99999999999999999999",
    ] {
        assert!(with(bad).starts_with(", lost Response content_length, 0:done ~?, 1:"), "{bad}");
    }
}

#[test]
fn unusual_but_tolerated_heads() {
    let mut talk = Talk::new();
    talk.says(
        Request,
        "\r\n\nPOST http://h/p?q HTTP/1.1\nContent-Length: 1\nX-Fold: a\n  content-length: 7\n\nx",
    );
    assert_eq!(talk.told(), "0:began, 0:POST http://h/p?q, 0:sent 1");
    talk.says(Response, "HTTP/1.1 200\nX: a\r\n \t b\nContent-Length : 3\n\nabc");
    assert_eq!(talk.told(), "0:answer, 0:200, 0:done 3");
    talk.says(Request, "\r\n")
        .says(Request, "OPTIONS * HTTP/1.1\r\nb3: 0\r\nX-B3-TraceId: 1\r\nCookie: c\r\n\r\n");
    let Some(Signal::RequestHead { head, .. }) = talk.out.get(1) else { panic!("{:?}", talk.out) };
    let names: Vec<_> = head.headers.iter().map(|h| h.name.clone()).collect();
    assert_eq!(names, ["b3", "X-B3-TraceId"]);
}

#[test]
fn configured_headers_are_kept() {
    let limits = Limits {
        request_headers: Arc::new(["x-request-id".to_owned()]),
        response_headers: Arc::new(["server".to_owned()]),
        ..Limits::default()
    };
    let mut talk = Talk::with(limits);
    talk.says(Request, "GET / HTTP/1.1\r\nX-Request-ID: 1\r\nX-Request-Id: 2\r\nAccept: a\r\n\r\n");
    talk.says(Response, "HTTP/1.1 204 No\r\nServer: s\r\nDate: d\r\n\r\n");
    let Some(Signal::RequestHead { head, .. }) = talk.out.get(1) else { panic!("{:?}", talk.out) };
    assert_eq!(head.headers.all("x-request-id").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(head.headers.iter().count(), 2);
    let Some(Signal::ResponseHead { head, .. }) = talk.out.get(4) else { panic!("{:?}", talk.out) };
    assert_eq!(head.headers.iter().count(), 1);
}

#[test]
fn hidden_bodies_are_counted() {
    let mut talk = Talk::new();
    talk.says(Request, GET);
    talk.partly(Response, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nab", 398, "");
    assert_eq!(talk.conversation.until(Response), Some(talk.at[1] + 600));
    talk.misses(Response, 500).partly(Response, "", 100, OK);
    // What follows in the same call has no request.
    assert!(talk.told().ends_with("0:200, 0:done 1000, lost Response request_missing"));
    let mut talk = Talk::new();
    talk.says(Request, GET).partly(Response, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nab", 398, "");
    talk.misses(Response, 600).says(Request, GET).says(Response, OK);
    assert!(
        talk.told().ends_with("0:200, 1:began, 1:GET /a, 1:sent 0, 0:done 1000, 1:answer, 1:200, 1:done 2")
    );
}

#[test]
fn the_end_in_an_unseen_stretch_is_not_late() {
    let mut talk = Talk::new();
    talk.says(Request, GET).partly(Response, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", 0, "");
    talk.misses(Response, 100).says(Request, GET).says(Response, OK);
    assert!(talk.out.iter().any(|s| matches!(s, Signal::ResponseEnded { n: 0, at: 20, .. })));
    // A report of progress tells when.
    let mut talk = Talk::new();
    talk.says(Request, GET).partly(Response, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", 0, "");
    talk.misses(Response, 100).goes_on(Response, "");
    assert!(talk.out.iter().any(|s| matches!(s, Signal::ResponseEnded { n: 0, at: 30, .. })));
}

#[test]
fn chunked_writes_seen_by_their_heads_stay_exact() {
    let mut talk = Talk::new();
    talk.says(Request, GET).says(Response, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    talk.partly(Response, "1000\r\nabc", 4093 + 2, "").partly(Response, "800\r\n", 2048, "\r\n0\r\n\r\n");
    assert!(talk.told().ends_with("0:done 6144"));
}

#[test]
fn a_hidden_boundary_ends_by_its_terminator() {
    let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe";
    for end in [["", "xx\r\n0\r\n\r\n"], ["0\r\n\r\n", ""]] {
        let mut talk = Talk::new();
        talk.says(Request, GET).partly(Response, start, 90, "cd").partly(Response, end[0], 0, end[1]);
        assert!(talk.told().ends_with("0:200, lost Response gap, 0:done ~?"));
        talk.says(Request, GET).says(Response, OK);
        assert!(talk.told().ends_with("1:200, 1:done 2"));
    }
}

#[test]
fn a_hidden_boundary_ends_when_the_other_side_goes_on() {
    let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe";
    let mut talk = Talk::new();
    talk.says(Request, GET).partly(Response, start, 90, "").goes_on(Response, "rest").says(Request, GET);
    assert!(talk.out.iter().any(|s| matches!(s, Signal::ResponseEnded { n: 0, at: 30, complete: true, .. })));
    talk.told();
    talk.says(Response, OK);
    assert_eq!(talk.told(), "1:answer, 1:200, 1:done 2");
    // Or when the connection ends.
    let mut talk = Talk::new();
    talk.says(Request, GET).partly(Response, start, 90, "").closes();
    assert!(talk.told().ends_with("lost Response gap, 0:done ~?"));
}

#[test]
fn a_request_with_a_hidden_boundary_ends_at_its_response() {
    let mut talk = Talk::new();
    talk.partly(Request, "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe", 90, "");
    talk.says(Request, GET).says(Response, "HTTP/1.1 100 Continue\r\n\r\n").says(Response, OK);
    let expected = "0:began, 0:POST /c, lost Request gap, 0:info 100, 0:answer, 0:200, 0:sent ~?, 0:done 2";
    assert_eq!(talk.told(), expected);
    talk.says(Request, GET).says(Response, OK);
    assert!(talk.told().ends_with("1:done 2"));
}

#[test]
fn heads_that_cannot_be_read_whole() {
    let limits = Limits { head_bytes: 64, ..Limits::default() };
    let long = format!("GET /long HTTP/1.1\r\nHost: h\r\nCookie: {}\r\n\r\n", "c".repeat(100));
    for at in [1, 30, 64, 65, 150] {
        let at = at.min(long.len());
        let mut talk = Talk::with(limits.clone());
        talk.says(Request, &long[..at]).goes_on(Request, &long[at..]);
        assert_eq!(talk.told(), "0:began, 0:GET /long cut, lost Request head_too_long");
        talk.says(Response, OK);
        assert_eq!(talk.told(), "0:answer, 0:200, 0:sent ~?, 0:done 2");
        talk.says(Request, GET).says(Response, OK);
        assert!(talk.told().ends_with("1:done 2"));
    }
    let mut talk = Talk::new();
    talk.partly(Request, "GET /gap HTTP/1.1\r\nHost: h\r\nCoo", 10, "\r\n\r\n").says(Response, OK);
    assert!(talk.told().starts_with("0:began, 0:GET /gap cut, lost Request gap, 0:answer"));
    talk.partly(Request, "GET /nothi", 10, " HTTP/1.1\r\n\r\n").says(Response, OK);
    assert_eq!(talk.told(), "1:began, lost Request gap, 1:dropped gap, lost Response request_dropped");
    talk.says(Request, GET).partly(Response, "HTTP/1.1 500 Oops\r\nCoo", 100, "").says(Request, GET);
    assert!(talk.told().contains("2:500 cut, lost Response gap, 2:done ~?, 3:began"));
}

#[test]
fn too_many_headers() {
    let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(200));
    let mut talk = Talk::new();
    talk.says(Request, &head).says(Response, OK);
    let Some(Signal::RequestHead { head, .. }) = talk.out.get(1) else { panic!("{:?}", talk.out) };
    assert!(head.truncated && head.headers.get("host").is_some());
    assert!(talk.told().ends_with("0:done 2"));
}

#[test]
fn a_response_without_a_request_is_passed_over() {
    let mut talk = Talk::adopted();
    talk.goes_on(Response, "rest of a body").says(Response, OK).goes_on(Request, "rest");
    assert_eq!(talk.told(), "lost Response request_missing");
    talk.says(Request, GET).says(Response, OK);
    assert_eq!(talk.told(), EXCHANGE);
}

#[test]
fn an_interim_response_is_not_another_one() {
    let mut talk = Talk::adopted();
    talk.says(Response, "HTTP/1.1 103 Early\r\n\r\n").says(Response, OK);
    assert_eq!(talk.told(), "lost Response request_missing");
}

#[test]
fn an_unseen_request_costs_only_itself() {
    let mut talk = Talk::new();
    talk.says(Request, GET).says(Response, OK).told();
    talk.misses(Request, GET.len() as u64).says(Response, OK).says(Request, GET).says(Response, OK);
    assert_eq!(
        talk.told(),
        "lost Request gap, lost Response request_missing, 1:began, 1:GET /a, 1:sent 0, 1:answer, 1:200, 1:done 2"
    );
}

#[test]
fn an_unseen_response_never_pairs_wrongly() {
    let mut talk = Talk::new();
    talk.says(Request, GET).misses(Response, OK.len() as u64).says(Request, "GET /b HTTP/1.1\r\n\r\n").told();
    talk.says(Response, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(talk.told(), "lost Response gap, 0:dropped gap, 1:dropped gap, lost Response request_dropped");
    talk.says(Request, GET).says(Response, OK);
    assert!(talk.told().ends_with("2:answer, 2:200, 2:done 2"));
}

#[test]
fn a_pipelining_client_is_not_guessed_at() {
    let mut talk = Talk::new();
    talk.says(Request, &[GET, GET].concat()).misses(Response, 40).says(Response, OK).told();
    talk.says(Request, GET).says(Response, OK).closes();
    assert_eq!(talk.told(), "lost Request ambiguous, lost Response request_dropped");
}

#[test]
fn answered_before_the_body_was_sent() {
    let mut talk = Talk::new();
    talk.says(Request, "POST /p HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc");
    talk.says(Response, "HTTP/1.1 413 Big\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(talk.told(), "0:began, 0:POST /p, 0:answer, 0:413, 0:sent ~3, 0:done 0");
    talk.goes_on(Request, "defghij").says(Request, GET).says(Response, OK);
    assert!(talk.told().starts_with("1:began"));
}

#[test]
fn a_response_reported_before_its_request() {
    let early = |talk: &mut Talk, began: u64| {
        talk.says(Response, &OK[..30]).goes_on(Response, &OK[30..]);
        let (position, len) = (talk.at[0], GET.len() as u64);
        let head = Bytes::from_static(GET.as_bytes());
        let chunk = Chunk { position, len, head, at: 50, began, starts_message: true, ..Chunk::default() };
        talk.at[0] += len;
        talk.conversation.push(Request, chunk, &mut talk.out);
    };
    let mut talk = Talk::new();
    early(&mut talk, 9);
    assert_eq!(talk.told(), EXCHANGE);
    let mut talk = Talk::new();
    early(&mut talk, 30);
    assert_eq!(talk.told(), "lost Response request_missing, 0:began, 0:GET /a, 0:sent 0");
    talk.says(Response, OK);
    assert_eq!(talk.told(), "0:answer, 0:200, 0:done 2");
    let mut talk = Talk::new();
    talk.says(Response, OK).closes();
    assert_eq!(talk.told(), "lost Response request_missing");
}

#[test]
fn repeated_bytes_are_ignored() {
    let mut talk = Talk::new();
    talk.says(Request, GET);
    talk.at[0] -= 10;
    talk.says(Request, &GET[GET.len() - 10..]).says(Response, &OK[..25]);
    talk.at[1] -= 20;
    talk.goes_on(Response, &OK[5..]);
    assert_eq!(talk.told(), EXCHANGE);
    talk.at = [5, 5];
    talk.says(Request, GET);
    assert!(talk.told().starts_with("lost Request position, 1:began"));
}

#[test]
fn connections_that_end_early() {
    let broken = |response: &str| {
        let mut talk = Talk::new();
        talk.says(Request, GET);
        if !response.is_empty() {
            talk.says(Response, response);
        }
        talk.ends(Response).closes();
        talk.told().split_off("0:began, 0:GET /a, 0:sent 0, ".len())
    };
    assert_eq!(broken(""), "0:broken ~?");
    assert_eq!(broken("HTTP/1.1 2"), "0:broken ~?");
    assert_eq!(broken(&OK[..OK.len() - 1]), "0:answer, 0:200, 0:broken ~1");
    assert_eq!(broken("HTTP/1.1 200 OK\r\n\r\nabc"), "0:answer, 0:200, 0:done 3");
    let mut talk = Talk::new();
    talk.says(Request, GET).says(Response, "HTTP/1.0 200 OK\r\n\r\nabc").closes();
    assert!(talk.told().ends_with("0:done ~3"));
    let mut talk = Talk::new();
    talk.says(Request, "GET /half").closes();
    assert_eq!(talk.told(), "0:began, 0:dropped closed");
    let mut talk = Talk::new();
    talk.says(Request, "PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc").ends(Request).says(Response, OK);
    assert_eq!(talk.told(), "0:began, 0:PUT /, 0:sent ~3, 0:answer, 0:200, 0:done 2");
}

#[test]
fn what_is_not_http_is_refused_at_once() {
    for text in
        ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x02", "*1\r\n$4\r\nPING\r\n", "EHLO me\r\n"]
    {
        let mut talk = Talk::new();
        talk.says(Request, text);
        assert_eq!(talk.told(), "lost Request not_http");
        assert!(!super::head::looks_like_request(text.as_bytes()));
    }
    let mut talk = Talk::new();
    talk.says(Request, GET).says(Response, "+PONG\r\n");
    assert!(talk.told().ends_with("lost Response not_http, 0:dropped not_http"));
    let mut talk = Talk::new();
    talk.says(Request, "GET /\x01 HTTP/1.1\r\n\r\n");
    assert_eq!(talk.told(), "0:began, lost Request malformed, 0:dropped malformed");
    assert!(super::head::looks_like_request(b"GET /"));
    assert!(!super::head::looks_like_request(b"GET"));
}

#[test]
fn more_requests_than_may_wait() {
    let mut talk = Talk::with(Limits { pending: 2, ..Limits::default() });
    talk.says(Request, GET).says(Request, GET).says(Request, GET).says(Request, GET);
    assert!(talk.told().ends_with("1:sent 0, lost Request too_many_pending, lost Request ambiguous"));
}

#[test]
fn a_conversation_is_small() {
    assert!(size_of::<Conversation>() <= 288, "{}", size_of::<Conversation>());
    let reason = LossReason::Gap;
    assert_eq!(reason.name(), "gap");
}
