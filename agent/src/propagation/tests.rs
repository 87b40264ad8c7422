//! Trace headers in every form that is in use, well formed and not.

use proptest::prelude::*;

use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn read(headers: &[(&str, &str)]) -> Option<Context> {
    extract(headers.iter().map(|(name, value)| (*name, value.as_bytes())))
}

fn read_decision(headers: &[(&str, &str)]) -> Option<bool> {
    decision(headers.iter().map(|(name, value)| (*name, value.as_bytes())))
}

fn ids(context: &Context) -> (String, String) {
    (context.trace_id.to_string(), context.parent.to_string())
}

#[test]
fn traceparent_version_00() {
    let context = read(&[("TraceParent", &format!(" 00-{TRACE}-{SPAN}-01\t"))]).unwrap();
    assert_eq!(ids(&context), (TRACE.into(), SPAN.into()));
    assert_eq!((context.sampled, context.format, context.state.as_str()), (Some(true), Format::W3c, ""));
    assert_eq!(read(&[("traceparent", &format!("00-{TRACE}-{SPAN}-00"))]).unwrap().sampled, Some(false));
    // Flags this version does not know are ignored.
    assert_eq!(read(&[("traceparent", &format!("00-{TRACE}-{SPAN}-fe"))]).unwrap().sampled, Some(false));
}

#[test]
fn traceparent_that_is_not_one() {
    let zeros = "0".repeat(32);
    for value in [
        String::new(),
        "00".into(),
        format!("00-{TRACE}-{SPAN}"),
        format!("00-{TRACE}-{SPAN}-1"),
        format!("00-{TRACE}-{SPAN}-0x"),
        format!("00-{TRACE}-{SPAN}-01-"),
        format!("00-{TRACE}-{SPAN}-01-more"),
        format!("ff-{TRACE}-{SPAN}-01"),
        format!("0g-{TRACE}-{SPAN}-01"),
        format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
        format!("00-{zeros}-{SPAN}-01"),
        format!("00-{TRACE}-0000000000000000-01"),
        format!("00_{TRACE}_{SPAN}_01"),
        format!("cc-{TRACE}-{SPAN}-01x"),
    ] {
        assert_eq!(read(&[("traceparent", &value)]), None, "{value}");
    }
}

#[test]
fn traceparent_of_a_future_version() {
    for more in ["", "-", "-what-comes-then"] {
        let context = read(&[("traceparent", &format!("cc-{TRACE}-{SPAN}-01{more}"))]).unwrap();
        assert_eq!((ids(&context).0.as_str(), context.sampled), (TRACE, Some(true)));
    }
}

#[test]
fn two_traceparents_must_agree() {
    let one = format!("00-{TRACE}-{SPAN}-01");
    let other = format!("00-{TRACE}-b7ad6b7169203331-01");
    assert!(read(&[("traceparent", &one), ("traceparent", &one)]).is_some());
    assert_eq!(read(&[("traceparent", &one), ("traceparent", &other)]), None);
}

fn state_of(lines: &[&str]) -> String {
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let mut headers = vec![("traceparent", parent.as_str())];
    headers.extend(lines.iter().map(|line| ("tracestate", *line)));
    read(&headers).unwrap().state
}

#[test]
fn tracestate_is_kept_as_it_came_and_lines_are_joined() {
    assert_eq!(state_of(&["rojo=00f067aa0ba902b7 , congo=t61r,"]), "rojo=00f067aa0ba902b7 , congo=t61r,");
    assert_eq!(state_of(&["a=1", "", "fw529a3039@dt=FfB3,b=2"]), "a=1,fw529a3039@dt=FfB3,b=2");
}

#[test]
fn tracestate_that_breaks_the_grammar_is_void_but_the_parent_stays() {
    for bad in ["a", "a=", "A=1", "=1", "a=1,a=2", "a=1=2", "a=\u{7f}", "a=é"] {
        assert_eq!(state_of(&[bad]), "", "{bad}");
    }
    let members = |n: usize| (0..n).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
    assert_eq!(state_of(&[&members(32)]), members(32));
    assert_eq!(state_of(&[&members(33)]), "");
    assert_eq!(read(&[("tracestate", "a=1")]), None);
}

#[test]
fn tracestate_too_long_loses_long_members_first_then_the_last() {
    let long = format!("long={}", "x".repeat(200));
    let short: Vec<String> = (0..20).map(|i| format!("k{i}={}", "y".repeat(100))).collect();
    let state = state_of(&[&short.join(","), &long]);
    assert!(
        state.len() <= 2048 && state.starts_with("k0=") && !state.contains("long") && !state.contains("k19=")
    );
    assert!(state.contains("k18="), "{}", state.len());
}

#[test]
fn b3_in_one_header() {
    let full = read(&[("b3", &format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90"))]).unwrap();
    assert_eq!(
        (ids(&full), full.sampled, full.format),
        ((TRACE.into(), SPAN.into()), Some(true), Format::B3Single)
    );
    assert_eq!(read(&[("b3", &format!("{TRACE}-{SPAN}"))]).unwrap().sampled, None);
    assert_eq!(read(&[("b3", &format!("{TRACE}-{SPAN}-0"))]).unwrap().sampled, Some(false));
    assert_eq!(read(&[("b3", &format!("{TRACE}-{SPAN}-d"))]).unwrap().sampled, Some(true));
    let short = read(&[("b3", &format!("a3ce929d0e0e4736-{SPAN}"))]).unwrap();
    assert_eq!(ids(&short).0, "0000000000000000a3ce929d0e0e4736");
    for bad in [
        format!("{TRACE}-{SPAN}-x"),
        format!("{TRACE}-{SPAN}-1-zz"),
        format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90-"),
        format!("{TRACE}-0000000000000000-1"),
        format!("abc-{SPAN}-1"),
        TRACE.into(),
    ] {
        assert_eq!(read(&[("b3", &bad)]), None, "{bad}");
    }
}

#[test]
fn b3_in_several_headers() {
    let with =
        |more: &[(&str, &str)]| read(&[&[("X-B3-TraceId", TRACE), ("X-B3-SpanId", SPAN)], more].concat());
    let context = with(&[("X-B3-Sampled", "1"), ("X-B3-ParentSpanId", "05e3ac9a4f6e3b90")]).unwrap();
    assert_eq!(
        (ids(&context).1.as_str(), context.sampled, context.format),
        (SPAN, Some(true), Format::B3Multi)
    );
    assert_eq!(with(&[]).unwrap().sampled, None);
    assert_eq!(with(&[("x-b3-sampled", "false")]).unwrap().sampled, Some(false));
    assert_eq!(with(&[("x-b3-flags", "1"), ("x-b3-sampled", "0")]).unwrap().sampled, Some(true));
    assert_eq!(read(&[("x-b3-traceid", TRACE)]), None);
    assert_eq!(with(&[("x-b3-spanid", "05e3ac9a4f6e3b90")]), None);
}

#[test]
fn a_decision_without_ids() {
    assert_eq!(read(&[("b3", "0")]), None);
    assert_eq!(read_decision(&[("b3", "0")]), Some(false));
    assert_eq!(read_decision(&[("b3", "d")]), Some(true));
    assert_eq!(read_decision(&[("x-b3-sampled", "0")]), Some(false));
    assert_eq!(read_decision(&[("x-b3-flags", "1")]), Some(true));
    assert_eq!(read_decision(&[("x-b3-sampled", "0"), ("x-b3-traceid", TRACE)]), None);
    assert_eq!(read_decision(&[("b3", "0"), ("traceparent", &format!("00-{TRACE}-{SPAN}-01"))]), None);
    assert_eq!(read_decision(&[("accept", "*/*")]), None);
}

#[test]
fn uber_trace_id() {
    let context = read(&[("uber-trace-id", "3ce929d0e0e4736:f067aa0ba902b7:0:1")]).unwrap();
    assert_eq!(ids(&context), ("000000000000000003ce929d0e0e4736".into(), SPAN.into()));
    assert_eq!((context.sampled, context.format), (Some(true), Format::Jaeger));
    let encoded = read(&[("Uber-Trace-Id", &format!("{TRACE}%3A{SPAN}%3a%3A02"))]).unwrap();
    assert_eq!((ids(&encoded), encoded.sampled), ((TRACE.into(), SPAN.into()), Some(true)));
    assert_eq!(read(&[("uber-trace-id", &format!("{TRACE}:{SPAN}:0:0"))]).unwrap().sampled, Some(false));
    for bad in
        ["", "1:2:0", "1:2:0:1:1", "0:2:0:1", "1:0:0:1", "1:2:z:1", "1:2:0:", "1:00000000000000002:0:1", "%3"]
    {
        assert_eq!(read(&[("uber-trace-id", bad)]), None, "{bad}");
    }
}

#[test]
fn the_first_valid_format_wins() {
    let w3c = format!("00-{TRACE}-{SPAN}-01");
    let b3 = format!("1111111111111111-{SPAN}");
    let uber = format!("2222:{SPAN}:0:1");
    let multi = [("x-b3-traceid", "3333333333333333"), ("x-b3-spanid", SPAN)];
    let format = |w3c: &str, b3: &str, multi: &[(&str, &str)]| {
        let all = [&[("uber-trace-id", uber.as_str()), ("b3", b3), ("traceparent", w3c)], multi].concat();
        read(&all).unwrap().format
    };
    assert_eq!(format(&w3c, &b3, &multi), Format::W3c);
    assert_eq!(format("00-broken", &b3, &multi), Format::B3Single);
    assert_eq!(format("00-broken", "0", &multi), Format::B3Multi);
    assert_eq!(format("00-broken", "0", &[]), Format::Jaeger);
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "traceparent",
            "tracestate",
            "b3",
            "X-B3-TraceId",
            "x-b3-spanid",
            "x-b3-sampled",
            "x-b3-flags",
            "uber-trace-id",
        ])
        .prop_map(String::from),
        "[a-z-]{0,12}",
    ]
}

proptest! {
    #[test]
    fn never_panics(headers in prop::collection::vec((names(), prop::collection::vec(any::<u8>(), 0..80)), 0..8)) {
        let iter = headers.iter().map(|(n, v)| (n.as_str(), v.as_slice()));
        let _ = (extract(iter.clone()), decision(iter));
    }

    #[test]
    fn never_panics_near_the_grammar(name in names(), value in "[0-9a-fdx:%3A=,-]{0,80}") {
        let context = read(&[(&name, &value)]);
        prop_assert!(context.is_none_or(|c| c.trace_id.0 != [0; 16] && c.parent.0 != [0; 8]));
    }

    #[test]
    fn every_format_reads_what_it_writes(trace in 1u128.., span in 1u64.., sampled: bool) {
        let flag = u8::from(sampled);
        let (t, s) = (format!("{trace:032x}"), format!("{span:016x}"));
        let written: [(Format, Vec<(&str, String)>); 4] = [
            (Format::W3c, vec![("traceparent", format!("00-{t}-{s}-0{flag}"))]),
            (Format::B3Single, vec![("b3", format!("{t}-{s}-{flag}"))]),
            (Format::B3Multi, vec![
                ("x-b3-traceid", t), ("x-b3-spanid", s), ("x-b3-sampled", flag.to_string()),
            ]),
            (Format::Jaeger, vec![("uber-trace-id", format!("{trace:x}:{span:x}:0:{flag}"))]),
        ];
        for (format, headers) in &written {
            let context = extract(headers.iter().map(|(n, v)| (*n, v.as_bytes()))).unwrap();
            prop_assert_eq!(context, Context {
                trace_id: TraceId(trace.to_be_bytes()),
                parent: SpanId(span.to_be_bytes()),
                sampled: Some(sampled),
                state: String::new(),
                format: *format,
            });
        }
    }
}
