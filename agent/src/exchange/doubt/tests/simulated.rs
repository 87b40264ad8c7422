//! An event loop that serves many requests at once, of which is known who made which call: no link that is kept may be
//! wrong, and where nobody waits for another, all must be kept.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

/// What a request does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many calls at once.
    Call(usize),
    /// One lookup for all who ask while it is under way.
    Shared,
    /// A call for which a place is waited for.
    Limited,
    Timer,
}
use Step::{Call, Limited, Shared, Timer};

/// Calls under way that wait for a place at most.
const PLACES: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Turn {
    Arrives(usize),
    Ends(u64),
    Fires(usize),
    Judges(u64, usize),
}

struct Made {
    owner: usize,
    context: (u64, u64),
    waits: Vec<usize>,
    limited: bool,
}

struct World {
    play: Play,
    random: u64,
    turns: BTreeMap<(Nanos, u64), Turn>,
    scripts: Vec<VecDeque<Step>>,
    pending: Vec<usize>,
    made: HashMap<u64, Made>,
    context: (u64, u64),
    lookup: Option<u64>,
    running: usize,
    queue: VecDeque<usize>,
    next: u64,
    /// Links that were kept, withdrawn, and kept although they are wrong.
    verdicts: (usize, usize, Vec<String>),
}

fn id_of(request: usize) -> u64 {
    request as u64 + 1
}

impl World {
    fn random(&mut self, below: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn later(&mut self, after: Nanos, turn: Turn) {
        self.next += 1;
        self.turns.insert((self.play.now + after, self.next), turn);
    }

    fn makes(&mut self, owner: usize, limited: bool) -> u64 {
        self.next += 1;
        let (id, context) = (self.next, self.context);
        let is_open = self.play.served.get(&context.0).is_some_and(|i| i.ended.get().is_none());
        self.play.now += 1;
        let link = self.play.doubts.calls(id, context, LOOP, self.play.now, is_open);
        if let Some(link) = link {
            self.play.links.insert(id, link);
            self.later(210 * MS, Turn::Judges(id, 0));
        }
        self.made.insert(id, Made { owner, context, waits: vec![owner], limited });
        let takes = 100_000 + self.random(5_000_000);
        self.later(takes, Turn::Ends(id));
        id
    }

    fn goes_on(&mut self, request: usize) {
        if self.pending[request] > 0 {
            self.pending[request] -= 1;
        }
        if self.pending[request] > 0 {
            return;
        }
        match self.scripts[request].pop_front() {
            None => {
                self.play.now += 1;
                let (context, via) = self.context;
                let answer = Answer { exchange: id_of(request), context, via, tid: LOOP, at: self.play.now };
                self.play.doubts.answers(&answer);
                self.play.served[&id_of(request)].ended.set(Some(self.play.now));
            }
            Some(Call(count)) => {
                self.pending[request] = count;
                for _ in 0..count {
                    self.makes(request, false);
                }
            }
            Some(Shared) => match self.lookup {
                Some(id) => self.made.get_mut(&id).unwrap().waits.push(request),
                None => self.lookup = Some(self.makes(request, false)),
            },
            Some(Limited) if self.running < PLACES => {
                self.running += 1;
                self.makes(request, true);
            }
            Some(Limited) => self.queue.push_back(request),
            Some(Timer) => self.later(5 * MS, Turn::Fires(request)),
        }
    }

    fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::Arrives(request) => {
                self.context = (id_of(request), 0);
                let identity = identity(id_of(request));
                self.play.doubts.serves(id_of(request), LOOP, &identity, self.play.now);
                self.play.served.insert(id_of(request), identity);
                self.goes_on(request);
            }
            Turn::Ends(id) => {
                let made = self.made.get_mut(&id).unwrap();
                let (waits, limited) = (std::mem::take(&mut made.waits), made.limited);
                self.context = if made.context.0 == 0 { (0, 0) } else { (made.context.0, id) };
                if self.lookup == Some(id) {
                    self.lookup = None;
                }
                if limited {
                    self.running -= 1;
                    if let Some(next) = self.queue.pop_front() {
                        self.running += 1;
                        self.makes(next, true);
                    }
                }
                waits.into_iter().for_each(|request| self.goes_on(request));
            }
            Turn::Fires(request) => {
                self.context = (0, 0);
                self.goes_on(request);
            }
            Turn::Judges(id, times) => self.judges(id, times),
        }
    }

    /// As an exchange that is over asks again and again, and for the last time after five seconds.
    fn judges(&mut self, id: u64, times: usize) {
        let made = &self.made[&id];
        match self.play.doubts.verdict(&self.play.links[&id], times == 25) {
            Wait => self.later(200 * MS, Turn::Judges(id, times + 1)),
            Keep if id_of(made.owner) != made.context.0 => {
                self.verdicts.2.push(format!("{id} of {} in {:?}", id_of(made.owner), made.context));
            }
            Keep => self.verdicts.0 += 1,
            Verdict::Withdraw(_) => self.verdicts.1 += 1,
        }
    }
}

/// Requests that each do one of these, `concurrency` at a time on the average.
fn run(kinds: &[&[Step]], concurrency: u64, random: u64) -> (usize, usize, Vec<String>) {
    const REQUESTS: usize = 200;
    let mut world = World {
        play: Play::new(),
        random,
        turns: BTreeMap::new(),
        scripts: Vec::new(),
        pending: vec![0; REQUESTS],
        made: HashMap::new(),
        context: (0, 0),
        lookup: None,
        running: 0,
        queue: VecDeque::new(),
        next: 1_000_000,
        verdicts: (0, 0, Vec::new()),
    };
    for request in 0..REQUESTS {
        let kind = world.random(kinds.len() as u64) as usize;
        world.scripts.push(kinds[kind].iter().copied().collect());
        let at = world.random(REQUESTS as u64 * 8 * MS / concurrency);
        world.later(at, Turn::Arrives(request));
    }
    while let Some(((at, _), turn)) = world.turns.pop_first() {
        world.play.now = world.play.now.max(at);
        world.turn(turn);
    }
    world.verdicts
}

const SEQUENTIAL: &[Step] = &[Call(1), Call(1), Call(1)];
const PARALLEL: &[Step] = &[Call(3)];
const MIXED: &[Step] = &[Call(1), Call(3)];
const SHARING: &[Step] = &[Shared, Call(1)];
const SHARING_LATER: &[Step] = &[Call(1), Shared, Call(1)];
const LATE: &[Step] = &[Shared, Call(1), Timer];
const LIMITED: &[Step] = &[Limited, Call(1)];
const LIMITED_TWICE: &[Step] = &[Limited, Limited];
const TIMED: &[Step] = &[Timer, Call(1), Call(1)];

proptest! {
    #[test]
    fn where_nobody_waits_for_another_every_link_is_kept(random: u64, concurrency in 1u64..100) {
        let (kept, withdrawn, wrong) = run(&[SEQUENTIAL, PARALLEL, MIXED], concurrency, random);
        prop_assert!(kept > 200 && withdrawn == 0 && wrong.is_empty(), "{kept} {withdrawn} {wrong:?}");
    }

    #[test]
    fn where_they_do_no_link_that_is_kept_is_wrong(random: u64, concurrency in 1u64..100) {
        let kinds: [&[&[Step]]; 7] = [
            &[SHARING],
            &[LATE],
            &[LIMITED],
            &[LIMITED_TWICE],
            &[SHARING, SHARING_LATER, LATE],
            &[SEQUENTIAL, MIXED, SHARING, LATE, LIMITED],
            &[SEQUENTIAL, PARALLEL, MIXED, SHARING, SHARING_LATER, LATE, LIMITED, TIMED],
        ];
        for kinds in kinds {
            let (kept, withdrawn, wrong) = run(kinds, concurrency, random);
            prop_assert!(wrong.is_empty(), "{kinds:?}: {kept} kept, {withdrawn} withdrawn, {wrong:?}");
        }
    }
}
