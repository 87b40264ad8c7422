//! Places in a function at which a value is in a register: found in its code, because nothing else tells.
//!
//! A breakpoint on a push, a jump or a nop is emulated by the kernel; on anything else it is single-stepped, which costs
//! ten times as much. So of the places that fit, such ones are taken.
//!
//! In: the code of x86-64, by address. Out: [`Place`]s. Pure: bytes in, places out; what is not understood gives none.

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, OpAccess, OpKind,
    Register,
};

/// Instructions of one function that are looked at.
const MOST: usize = 600;
/// The longest instruction.
const LONGEST: u64 = 15;
/// `ret`.
const RETURN: [u8; 1] = [0xc3];
/// Places that one function may need.
const MOST_PLACES: usize = 8;

/// Where a value is, and in which register when the instruction there begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The instruction's address.
    pub address: u64,
    /// The register's index in `struct pt_regs`.
    pub register: u8,
}

/// General registers, by their places in `struct pt_regs`; the stack pointer is none of them.
const REGISTERS: [Register; 15] = [
    Register::R15,
    Register::R14,
    Register::R13,
    Register::R12,
    Register::RBP,
    Register::RBX,
    Register::R11,
    Register::R10,
    Register::R9,
    Register::R8,
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RSI,
    Register::RDI,
];

/// A set of registers, a bit for each of [`REGISTERS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Set(u16);

impl Set {
    const NONE: Self = Self(0);
    /// Also: whatever the value is, it is not wanted.
    const ALL: Self = Self(0x7fff);
    /// What a called function may change.
    const CALLED: [Register; 9] = [
        Register::RAX,
        Register::RCX,
        Register::RDX,
        Register::RSI,
        Register::RDI,
        Register::R8,
        Register::R9,
        Register::R10,
        Register::R11,
    ];

    fn of(register: Register) -> Self {
        let full = register.full_register();
        let at = REGISTERS.iter().position(|one| *one == full);
        at.map_or(Self::NONE, |at| Self(1 << at))
    }

    fn all(registers: impl IntoIterator<Item = Register>) -> Self {
        registers.into_iter().fold(Self::NONE, |set, register| Self(set.0 | Self::of(register).0))
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn first(self) -> Option<u8> {
        u8::try_from(self.0.trailing_zeros()).ok().filter(|_| self != Self::NONE)
    }
}

/// One instruction.
struct Step {
    instruction: Instruction,
    emulated: bool,
    next: Vec<u64>,
    /// The registers it writes, all or in part.
    writes: Set,
}

/// The code of a function, as far as it goes.
struct Flow {
    entry: u64,
    steps: BTreeMap<u64, Step>,
}

/// Where what a function returns is in a register, for every way out on which that is not 0; each way passes by one of
/// them. The value is the function's own: it is not there before.
pub fn results<'a>(entry: u64, code: impl Fn(u64, u64) -> Option<&'a [u8]>) -> Option<Vec<Place>> {
    let flow = Flow::follow(entry, code)?;
    let values = flow.values();
    let at = |address: &u64| values.get(address).copied().unwrap_or(Set::ALL);
    let mut places: BTreeSet<u64> = BTreeSet::new();
    let returns = flow.steps.iter().filter(|(_, s)| s.instruction.flow_control() == FlowControl::Return);
    for (address, _) in returns {
        let cheap = |at: u64| flow.steps.get(&at).is_some_and(|step| step.emulated);
        match flow.back(*address, &at, &cheap) {
            Some(found) => places.extend(found),
            None => {
                places.insert(*address);
            }
        }
    }
    // One that every way to it passes by another first is not needed.
    for place in places.clone() {
        let others = |at: u64| at != place && places.contains(&at);
        if flow.back(place, &at, &others).is_some() {
            places.remove(&place);
        }
    }
    let place = |address: &u64| Some(Place { address: *address, register: at(address).first()? });
    let found: Vec<Place> = places.iter().filter_map(place).collect();
    (!found.is_empty() && found.len() <= MOST_PLACES).then_some(found)
}

/// The first place at which a function's first argument is in a register still, cheap if there is one.
pub fn argument<'a>(entry: u64, code: impl Fn(u64, u64) -> Option<&'a [u8]>) -> Option<Place> {
    let mut factory = InstructionInfoFactory::new();
    let (mut address, mut holders) = (entry, Set::of(Register::RDI));
    for _ in 0..40 {
        let step = Step::decode(address, code(address, LONGEST)?, &mut factory)?;
        if step.emulated {
            return Some(Place { address, register: holders.first()? });
        }
        holders = match copied(&step.instruction) {
            Some((to, from)) if holders.has(from) => holders.with(to),
            _ => holders.without(step.writes),
        };
        match step.next.as_slice() {
            [next] if holders != Set::NONE => address = *next,
            _ => break,
        }
    }
    Some(Place { address: entry, register: Set::of(Register::RDI).first()? })
}

/// Where a function goes on to the one at `target`, whose first argument is in its register then: jumps only, which are
/// cheap.
pub fn handed_on<'a>(entry: u64, target: u64, code: impl Fn(u64, u64) -> Option<&'a [u8]>) -> Vec<Place> {
    // What is behind the jumps is other functions.
    let within = |address, most| if address == target { Some(&RETURN[..]) } else { code(address, most) };
    let Some(flow) = Flow::follow(entry, within) else { return Vec::new() };
    let goes = |step: &&Step| step.emulated && step.instruction.near_branch_target() == target;
    let register = Set::of(Register::RDI).first();
    let places = flow.steps.values().filter(goes).filter_map(|step| {
        let address = step.instruction.ip();
        register.map(|register| Place { address, register })
    });
    places.take(MOST_PLACES).collect()
}

/// The registers that a whole register is copied to, and from.
fn copied(i: &Instruction) -> Option<(Set, Set)> {
    let moves = matches!(i.code(), Code::Mov_r64_rm64 | Code::Mov_rm64_r64);
    let both = i.op0_kind() == OpKind::Register && i.op1_kind() == OpKind::Register;
    (moves && both).then(|| (Set::of(i.op0_register()), Set::of(i.op1_register())))
}

/// The register that is set to 0, whole.
fn zeroed(i: &Instruction) -> Option<Set> {
    let wide = |register: Register| matches!(register.size(), 4 | 8);
    let register = (i.op0_kind() == OpKind::Register).then(|| i.op0_register()).filter(|r| wide(*r))?;
    let zero = match i.code() {
        Code::Xor_r32_rm32 | Code::Xor_rm32_r32 | Code::Xor_r64_rm64 | Code::Xor_rm64_r64 => {
            i.op1_kind() == OpKind::Register && i.op1_register() == register
        }
        Code::Mov_r32_imm32 | Code::Mov_rm32_imm32 | Code::Mov_rm64_imm32 | Code::Mov_r64_imm64 => {
            i.immediate(1) == 0
        }
        _ => false,
    };
    zero.then(|| Set::of(register))
}

impl Step {
    fn decode(address: u64, bytes: &[u8], factory: &mut InstructionInfoFactory) -> Option<Self> {
        let instruction = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode();
        if instruction.is_invalid() {
            return None;
        }
        let (next, target) = (instruction.next_ip(), instruction.near_branch_target());
        let next = match instruction.flow_control() {
            FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => vec![next],
            FlowControl::UnconditionalBranch => vec![target],
            FlowControl::ConditionalBranch => vec![next, target],
            FlowControl::Return | FlowControl::Exception => Vec::new(),
            // Tables of jumps, and functions elsewhere that return in this one's place.
            _ => return None,
        };
        let writes = |access| {
            matches!(
                access,
                OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
            )
        };
        let used = factory.info(&instruction).used_registers();
        let mut written = Set::all(used.iter().filter(|u| writes(u.access())).map(|u| u.register()));
        if matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall) {
            written = written.with(Set::all(Set::CALLED));
        }
        let emulated = is_emulated(bytes.get(..instruction.len())?);
        Some(Self { instruction, emulated, next, writes: written })
    }

    /// The registers that hold the value before it, if these hold it afterwards.
    fn before(&self, after: Set) -> Set {
        if after == Set::ALL {
            return after;
        }
        if let Some((to, from)) = copied(&self.instruction) {
            return if after.has(to) { after.without(to).with(from) } else { after };
        }
        match zeroed(&self.instruction) {
            Some(zeroed) if after.has(zeroed) => Set::ALL,
            _ => after.without(self.writes),
        }
    }
}

/// Whether the kernel emulates a breakpoint on it: a push of a register, a jump, a nop. It does so with calls too, but
/// those write on the stack, and where that has a shadow, emulating them is newer.
fn is_emulated(instruction: &[u8]) -> bool {
    matches!(
        instruction,
        [0x50..=0x57]
            | [0x41, 0x50..=0x57]
            | [0x70..=0x7f | 0xeb, _]
            | [0xe9, _, _, _, _]
            | [0x0f, 0x80..=0x8f, _, _, _, _]
            | [0x90]
    )
}

impl Flow {
    /// Everything that can be reached from `entry` by jumps; `None` if that is not known or too much.
    fn follow<'a>(entry: u64, code: impl Fn(u64, u64) -> Option<&'a [u8]>) -> Option<Self> {
        let mut factory = InstructionInfoFactory::new();
        let (mut steps, mut waiting) = (BTreeMap::new(), vec![entry]);
        while let Some(address) = waiting.pop() {
            if steps.contains_key(&address) {
                continue;
            }
            let step = Step::decode(address, code(address, LONGEST)?, &mut factory)?;
            waiting.extend(&step.next);
            steps.insert(address, step);
            if steps.len() > MOST {
                return None;
            }
        }
        Some(Self { entry, steps })
    }

    /// For each instruction, the registers that hold what the function will return, before it: all where that is 0 or
    /// nothing is returned.
    fn values(&self) -> BTreeMap<u64, Set> {
        let mut values: BTreeMap<u64, Set> = self.steps.keys().map(|address| (*address, Set::ALL)).collect();
        loop {
            let mut changed = false;
            for (address, step) in self.steps.iter().rev() {
                let after = |set: Set, next: &u64| set.both(values.get(next).copied().unwrap_or(Set::ALL));
                let before = match step.instruction.flow_control() {
                    FlowControl::Return => Set::of(Register::RAX),
                    _ => step.before(step.next.iter().fold(Set::ALL, after)),
                };
                changed |= values.insert(*address, before) != Some(before);
            }
            if !changed {
                return values;
            }
        }
    }

    /// The places that are met on all ways back from `from`, the first of each; `None` if the value or the function
    /// begins before one is met.
    fn back(
        &self,
        from: u64,
        at: &impl Fn(&u64) -> Set,
        is_place: &impl Fn(u64) -> bool,
    ) -> Option<BTreeSet<u64>> {
        let (mut places, mut seen, mut waiting) = (BTreeSet::new(), BTreeSet::from([from]), vec![from]);
        while let Some(address) = waiting.pop() {
            if address == self.entry {
                return None;
            }
            let before = self.steps.iter().filter(|(_, step)| step.next.contains(&address)).map(|(a, _)| *a);
            for address in before {
                match at(&address) {
                    Set::ALL => {}
                    Set::NONE => return None,
                    _ if is_place(address) => {
                        places.insert(address);
                    }
                    _ if seen.insert(address) => waiting.push(address),
                    _ => {}
                }
            }
        }
        Some(places)
    }
}

#[cfg(test)]
mod tests;
