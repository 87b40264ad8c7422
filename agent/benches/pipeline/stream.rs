//! A recorded stream as a mould: the same again and again, each time of other connections and requests at another time.
//!
//! In: a stream that `sockspan record` wrote. Out: inputs for the pipeline.

use std::{collections::VecDeque, path::Path};

use anyhow::{Context as _, Result, bail};
use bytes::{Buf as _, Bytes, BytesMut};
use sockspan::record::{Input, Reader};
use sockspan_ebpf::{Data, EventKind, HEIR, Inheritance, flag, via};

/// Between the identities of two castings.
const APART: u64 = 1 << 32;
/// Between their sequence numbers: a connection moves less.
const SEQUENCE: u32 = 1 << 17;

/// The mould.
pub struct Mould {
    /// What the pipeline is told once: the processes.
    pub processes: Vec<Input>,
    /// What ids are made from.
    pub seed: [u8; 16],
    events: Vec<Cast>,
}

/// Castings that are being told, each from its own beginning on, at the same distance from the one before.
pub struct Told<'a> {
    mould: &'a Mould,
    /// Nanoseconds from one to the next.
    apart: u64,
    origin: u64,
    next: u64,
    /// Those that have begun and are not over: number and next event.
    running: VecDeque<(u64, usize)>,
}

impl<'a> Told<'a> {
    /// From `origin` on, nanoseconds of CLOCK_MONOTONIC.
    pub fn new(mould: &'a Mould, apart: u64, origin: u64) -> Self {
        Self { mould, apart, origin, next: 0, running: VecDeque::new() }
    }

    /// What was told until `now` and was not asked for yet; no casting begins any more after the first `most`.
    #[inline(never)] // Not the pipeline's: its instructions are taken off.
    pub fn until(&mut self, now: u64, most: u64) -> BytesMut {
        while self.next < most && self.origin + self.next * self.apart <= now {
            self.running.push_back((self.next, 0));
            self.next += 1;
        }
        let mut due = Vec::new();
        for (number, next) in &mut self.running {
            let base = self.origin + *number * self.apart;
            while *next < self.mould.len() && base + self.mould.after(*next) <= now {
                due.push((base + self.mould.after(*next), base, *number, *next));
                *next += 1;
            }
        }
        self.running.retain(|(_, next)| *next < self.mould.len());
        // As the kernel tells them.
        due.sort_unstable();
        let mut batch = BytesMut::with_capacity(due.len() * 512);
        for (_, base, number, event) in due {
            self.mould.cast(number, base, event, &mut batch);
        }
        batch
    }

    /// How many have begun.
    pub fn begun(&self) -> u64 {
        self.next
    }

    /// Whether all that have begun are over.
    pub fn is_silent(&self) -> bool {
        self.running.is_empty()
    }
}

/// An event of the mould.
struct Cast {
    /// When, counted from the first.
    after: u64,
    /// As the kernel wrote it, without its length.
    bytes: Vec<u8>,
    kind: Kind,
}

enum Kind {
    Socket(Box<Data>),
    Inherited(Inheritance),
}

impl Mould {
    /// Reads a stream. Of what it tells of processes, only who they are is kept: they go on.
    pub fn read(path: &Path) -> Result<Self> {
        let mut reader = Reader::open(path)?;
        let (mut processes, mut found) = (Vec::new(), Vec::new());
        while let Some(input) = reader.read()? {
            match input {
                Input::Process { .. } => processes.push(input),
                Input::Batch(batch) => cut(batch, &mut found)?,
                Input::Clock { .. } => {}
            }
        }
        found.sort_by_key(|(at, ..)| *at);
        let Some(&(first, ..)) = found.first() else { bail!("{}: no events", path.display()) };
        let events =
            found.into_iter().map(|(at, bytes, kind)| Cast { after: at - first, bytes, kind }).collect();
        Ok(Self { processes, seed: reader.seed, events })
    }

    fn len(&self) -> usize {
        self.events.len()
    }

    /// When an event is due, counted from the first, in nanoseconds.
    fn after(&self, event: usize) -> u64 {
        self.events.get(event).map_or(u64::MAX, |cast| cast.after)
    }

    /// Adds an event of the casting `number`, which begins at `base`, to a batch as the kernel's reader makes them.
    fn cast(&self, number: u64, base: u64, event: usize, batch: &mut BytesMut) {
        let Some(cast) = self.events.get(event) else { return };
        batch.extend_from_slice(&(cast.bytes.len() as u32).to_ne_bytes());
        let at = base + cast.after;
        match &cast.kind {
            Kind::Socket(data) => {
                let data = socket(data, number, at);
                let head = bytemuck::bytes_of(&data);
                batch.extend_from_slice(head);
                batch.extend_from_slice(cast.bytes.get(head.len()..).unwrap_or_default());
            }
            Kind::Inherited(told) => {
                let (heir, of) = (other(told.heir, number), other(told.of, number));
                batch.extend_from_slice(bytemuck::bytes_of(&Inheritance { heir, of, at, ..*told }));
            }
        }
    }
}

fn cut(mut batch: Bytes, found: &mut Vec<(u64, Vec<u8>, Kind)>) -> Result<()> {
    while batch.has_remaining() {
        let length = batch.get_u32_ne() as usize;
        let bytes = batch.split_to(length).to_vec();
        let kind = bytes.first().and_then(|byte| EventKind::from_byte(*byte)).context("an unknown event")?;
        match kind {
            EventKind::Data | EventKind::EndOfStream | EventKind::Closed => {
                let data: Data = bytemuck::pod_read_unaligned(&bytes[..size_of::<Data>()]);
                found.push((data.at, bytes, Kind::Socket(Box::new(data))));
            }
            EventKind::Inherited => {
                let told: Inheritance = bytemuck::pod_read_unaligned(&bytes[..size_of::<Inheritance>()]);
                found.push((told.at, bytes, Kind::Inherited(told)));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Another casting's identity in place of that one; none stays none.
fn other(id: u64, number: u64) -> u64 {
    const MARKS: u64 = HEIR | via::WORK;
    if id & !MARKS == 0 { id } else { (id & MARKS) | ((id & !MARKS).wrapping_add(number * APART) & !MARKS) }
}

fn socket(data: &Data, number: u64, at: u64) -> Data {
    let moved = SEQUENCE.wrapping_mul(number as u32);
    let closed = data.kind == EventKind::Closed as u8;
    let sequence = data.flags & flag::SEQUENCE != 0;
    let position = |position: u32, moves: bool| if moves { position.wrapping_add(moved) } else { position };
    Data {
        at,
        began: if data.began == 0 { 0 } else { at - (data.at - data.began) },
        socket: data.socket.wrapping_add(number * APART),
        generation: data.generation.wrapping_add(number),
        exchange: other(data.exchange, number),
        parent: other(data.parent, number),
        via: other(data.via, number),
        position: position(data.position, sequence),
        missed: position(data.missed, sequence && closed),
        local_base: position(data.local_base, true),
        peer_base: position(data.peer_base, true),
        ..*data
    }
}
