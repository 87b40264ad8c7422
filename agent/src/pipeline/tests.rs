//! Events into spans through all stages, with processes that come, go and are judged late.

use bytes::Bytes;

use super::*;
use crate::{
    event::turn_of,
    sampler::Sampler,
    span::{conventions::Conventions, route::Router},
};

const SERVER: u32 = 7;

/// A pipeline that has been told of no process.
fn unaware() -> Pipeline {
    let assembler = Assembler {
        clock: Clock::new(0, 0),
        conventions: Conventions::default(),
        router: Router::new(Vec::new(), false),
        sampler: Sampler::parse(|_| None).unwrap(),
        evidence: false,
    };
    let options = Options {
        seed: Seed([7; 16]),
        head_bytes: 1024,
        connections: 16,
        max_duration: Duration::from_secs(60),
        excluded: Box::new(|_| false),
        correlation: Arc::new([]),
        leave_instrumented: true,
        assembler,
    };
    Pipeline::new(options, Arc::default())
}

/// A pipeline that has been told to trace [`SERVER`].
fn pipeline() -> Pipeline {
    let mut pipeline = unaware();
    pipeline.take(arrival(), &mut Yield::default());
    pipeline
}

fn arrival() -> Input {
    Input::Process { tgid: SERVER, resource: unknown(SERVER), complete: true }
}

fn clock(pipeline: &Pipeline, seconds: u64) -> Input {
    Input::Clock { monotonic: pipeline.now + seconds * 1_000_000_000, wall: 1 }
}

fn data(role: Role, flags: u16) -> Bytes {
    let mut data: Data = bytemuck::Zeroable::zeroed();
    data.kind = EventKind::Data as u8;
    (data.role, data.flags, data.tgid, data.at) = (role as u8, flags, SERVER, 1);
    let event = bytemuck::bytes_of(&data);
    [&(event.len() as u32).to_ne_bytes(), event].concat().into()
}

#[test]
fn a_process_is_told_to_serve_once_in_each_program() {
    let mut pipeline = pipeline();
    let mut told = |batch: Bytes| {
        let mut out = Yield::default();
        pipeline.take(Input::Batch(batch), &mut out);
        let clock = Input::Clock { monotonic: pipeline.now + 1_000_000_000, wall: 1 };
        pipeline.take(clock, &mut out);
        out.turns.iter().map(|(kind, turn)| (*kind, turn.tgid)).collect::<Vec<_>>()
    };
    assert_eq!(told(data(Role::Client, flag::STARTS_EXCHANGE)), []);
    assert_eq!(told(data(Role::Server, 0)), []);
    assert_eq!(told(data(Role::Server, flag::STARTS_EXCHANGE)), [(EventKind::Data, SERVER)]);
    assert_eq!(told(data(Role::Server, flag::STARTS_EXCHANGE)), []);
    assert_eq!(told(turn_of(EventKind::Exec, SERVER, 2)), [(EventKind::Exec, SERVER)]);
    assert_eq!(told(data(Role::Server, flag::STARTS_EXCHANGE)), [(EventKind::Data, SERVER)]);
}

#[test]
fn a_released_process_is_told_to_serve_again_when_it_comes_back() {
    let mut pipeline = pipeline();
    let mut told = |batch: Bytes| {
        let mut out = Yield::default();
        pipeline.take(Input::Batch(batch), &mut out);
        let clock = Input::Clock { monotonic: pipeline.now + 1_000_000_000, wall: 1 };
        pipeline.take(clock, &mut out);
        (out.turns.iter().filter(|(kind, _)| *kind == EventKind::Data).count(), pipeline.held())
    };
    let begins = || data(Role::Server, flag::STARTS_EXCHANGE);
    assert_eq!(told(begins()), (1, (1, 0)));
    assert_eq!(told(begins()), (0, (1, 0)));
    assert_eq!(told(turn_of(EventKind::Released, SERVER, 3)), (0, (0, 0)));
    assert_eq!(told(begins()), (1, (1, 0)));
}

#[test]
fn what_a_program_does_before_it_is_judged_counts_if_it_is_selected() {
    let mut out = Yield::default();
    let mut selected = unaware();
    selected.take(Input::Batch(data(Role::Server, flag::STARTS_EXCHANGE)), &mut out);
    selected.take(clock(&selected, 1), &mut out);
    assert_eq!((selected.held().0, out.turns.len()), (0, 0), "not before");
    selected.take(arrival(), &mut out);
    assert_eq!((selected.held().0, out.turns.len()), (1, 1));

    let mut left = unaware();
    left.take(Input::Batch(data(Role::Server, flag::STARTS_EXCHANGE)), &mut out);
    for _ in 0..8 {
        left.take(clock(&left, 1), &mut out);
    }
    left.take(arrival(), &mut out);
    assert_eq!(left.held().0, 0, "nobody asked in time");
}

#[test]
fn an_id_that_is_used_again_is_another_process() {
    let mut pipeline = pipeline();
    for (kind, at) in [(EventKind::Exit, 2), (EventKind::Exec, 3)] {
        pipeline.take(Input::Batch(turn_of(kind, SERVER, at)), &mut Yield::default());
    }
    pipeline.take(clock(&pipeline, 1), &mut Yield::default());
    pipeline.take(Input::Batch(data(Role::Server, flag::STARTS_EXCHANGE)), &mut Yield::default());
    pipeline.take(clock(&pipeline, 1), &mut Yield::default());
    assert_eq!(pipeline.held().0, 0, "whether it is traced is not known");
}

/// A fork of [`SERVER`].
fn fork(child: u32) -> Input {
    let turn = Lifecycle {
        kind: EventKind::Fork as u8,
        reserved: [0; 3],
        tgid: child,
        other: SERVER,
        flags: 0,
        at: 1,
    };
    let event = bytemuck::bytes_of(&turn);
    Input::Batch([&(event.len() as u32).to_ne_bytes(), event].concat().into())
}

#[test]
fn a_child_is_what_its_parent_is_but_another_process() {
    let mut pipeline = unaware();
    let mut resource = unknown(SERVER);
    resource.attributes.extend([Attribute::str("service.instance.id", "x"), Attribute::str("a", "b")]);
    pipeline.take(Input::Process { tgid: SERVER, resource, complete: true }, &mut Yield::default());
    pipeline.take(fork(8), &mut Yield::default());
    pipeline.take(clock(&pipeline, 1), &mut Yield::default());
    let child = pipeline.resource(8);
    let said =
        [("service.name", "unknown_service"), ("a", "b")].map(|(key, value)| Attribute::str(key, value));
    assert_eq!(child.attributes, [&said[..], &[pid(8)]].concat());
    assert!(Arc::ptr_eq(&child, &pipeline.resource(8)), "its spans share one");
    assert!(pipeline.resource(SERVER).attributes.contains(&Attribute::str("service.instance.id", "x")));
    let known = Input::Process { tgid: 8, resource: unknown(8), complete: true };
    pipeline.take(known, &mut Yield::default());
    assert_eq!(*pipeline.resource(8), unknown(8), "until it is looked at");
}

#[test]
fn who_is_let_go_and_comes_back_at_once_stays() {
    let mut pipeline = pipeline();
    pipeline.take(Input::Batch(turn_of(EventKind::Released, SERVER, 1)), &mut Yield::default());
    pipeline.take(arrival(), &mut Yield::default());
    for _ in 0..40 {
        pipeline.take(clock(&pipeline, 1), &mut Yield::default());
    }
    pipeline.take(Input::Batch(data(Role::Server, flag::STARTS_EXCHANGE)), &mut Yield::default());
    pipeline.take(clock(&pipeline, 1), &mut Yield::default());
    assert_eq!(pipeline.held().0, 1, "its resource was not forgotten");
}

#[test]
fn other_rules_hold_from_then_on() {
    let mut pipeline = pipeline();
    assert!(!pipeline.assembler.evidence);
    pipeline.reload(Rules {
        excluded: Box::new(|_| true),
        correlation: Arc::new([]),
        leave_instrumented: true,
        conventions: Conventions::default().with_query(true),
        router: Router::new(vec!["/a/:b".parse().unwrap()], false),
        evidence: true,
    });
    assert!(pipeline.assembler.evidence);
    let route = pipeline.assembler.router.route("shop", "/a/1", |path| path);
    assert_eq!(route.as_deref(), Some("/a/:b"));
}

#[test]
fn a_close_is_its_connections_whoever_ran_when_it_came() {
    let mut closed: Data = bytemuck::Zeroable::zeroed();
    (closed.kind, closed.role, closed.tgid, closed.at) = (EventKind::Closed as u8, Role::Server as u8, 99, 2);
    closed.state = 7; // TCP_CLOSE
    let event = bytemuck::bytes_of(&closed);
    let batch = || Bytes::from([&(event.len() as u32).to_ne_bytes(), event].concat());
    let mut out = Yield::default();

    let mut traced = pipeline();
    traced.take(Input::Batch(data(Role::Server, flag::STARTS_EXCHANGE)), &mut out);
    traced.take(Input::Batch(batch()), &mut out);
    for _ in 0..3 {
        traced.take(clock(&traced, 1), &mut out);
    }
    assert_eq!(traced.held().0, 0, "it is closed, and forgotten");

    let mut late = unaware();
    late.take(Input::Batch(data(Role::Server, flag::STARTS_EXCHANGE)), &mut out);
    late.take(Input::Batch(batch()), &mut out);
    late.take(clock(&late, 1), &mut out);
    late.take(arrival(), &mut out);
    assert_eq!(late.held().0, 1, "open until what was held is told");
    for _ in 0..3 {
        late.take(clock(&late, 1), &mut out);
    }
    assert_eq!(late.held().0, 0, "and closed by it");
}
