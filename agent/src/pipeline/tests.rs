use bytes::Bytes;

use super::*;
use crate::{
    event::turn_of,
    sampler::Sampler,
    span::{conventions::Conventions, route::Router},
};

const SERVER: u32 = 7;

fn pipeline() -> Pipeline {
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
        assembler,
    };
    Pipeline::new(options, Arc::default())
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
fn other_rules_hold_from_then_on() {
    let mut pipeline = pipeline();
    assert!(!pipeline.assembler.evidence);
    pipeline.reload(Rules {
        excluded: Box::new(|_| true),
        conventions: Conventions::default().with_query(true),
        router: Router::new(vec!["/a/:b".parse().unwrap()], false),
        evidence: true,
    });
    assert!(pipeline.assembler.evidence);
    let route = pipeline.assembler.router.route("shop", "/a/1", |path| path);
    assert_eq!(route.as_deref(), Some("/a/:b"));
}
