//! Go's functions. A goroutine begins with what the one that starts it works for, until it ends. net/http's client hands a request
//! to another goroutine, the connection's own, which writes it: the connection tells on whose behalf.
//!
//! The places are found in the program's code: each where the kernel need not single-step and the arguments are still in
//! their registers. Code that does not look as expected gets no breakpoint.

use std::path::Path;

use sockspan_ebpf::GoLayout;

use super::Hook;
use crate::process::{Function, GoError, GoProgram};

/// What there is to hook in a Go program.
#[derive(Clone, Debug)]
pub struct Goroutines {
    /// The hooks.
    pub hooks: Vec<Hook>,
    /// Where the runtime keeps what names a goroutine.
    pub layout: GoLayout,
    /// The version of Go.
    pub version: String,
}

/// Why goroutines cannot be told apart.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The file does not say.
    #[error(transparent)]
    Program(#[from] GoError),
    /// Nobody has looked at how this version keeps its goroutines.
    #[error("where {0} keeps its goroutines is not known")]
    Version(String),
    /// Goroutines are known to serve a request each in net/http's server alone.
    #[error("it serves by something else than net/http")]
    Server,
    /// A function is missing, or not what is known.
    #[error("{0} is not as in the versions of Go that are known")]
    Function(&'static str),
}

const START: &str = "runtime.newproc.func1";
const QUEUE: &str = "runtime.runqput";
const END: &str = "runtime.goexit1";
const SEND: &str = "net/http.(*persistConn).roundTrip";
const SERVE: &str = "net/http.(*conn).serve";
const WRITE: &str = "net/http.persistConnWriter.Write";

/// The offsets of `runtime.g.m`, `runtime.m.curg` and `runtime.g.goid`, from Go 1.`minor` on; the same on all 64-bit
/// machines.
const LAYOUTS: [(u32, [u32; 3]); 3] = [(18, [48, 192, 152]), (23, [48, 192, 160]), (25, [48, 184, 152])];
/// The newest version that was looked at.
const NEWEST: u32 = 26;

/// Go's hooks in the executable `file`.
///
/// # Errors
/// [`Unfit`].
pub fn go(file: &Path) -> Result<Goroutines, Unfit> {
    let mut program = GoProgram::read(file)?;
    let version = program.version().to_owned();
    let layout = program.minor().and_then(layout).ok_or(Unfit::Version(version.clone()))?;
    let found = program.functions(&[START, QUEUE, END, SEND, WRITE, SERVE]);
    let Ok([start, queue, end, send, write, serve]) = <[_; 6]>::try_from(found) else {
        return Err(Unfit::Function(START));
    };
    serve.ok_or(Unfit::Server)?;
    let hook = |program, function: &str, offset| {
        Some(Hook { program, file: file.to_owned(), offset, function: function.to_owned(), cookie: 0 })
    };
    let queue = queue.ok_or(Unfit::Function(QUEUE))?;
    let birth = start.and_then(|start| hook("go_start", START, call(&start, queue.address)?));
    let end = end.and_then(|end| hook("go_end", END, stack_check(&end)?));
    let mut hooks = vec![birth.ok_or(Unfit::Function(START))?, end.ok_or(Unfit::Function(END))?];
    // A program that calls nobody by net/http has neither.
    if send.is_some() || write.is_some() {
        let send = send.and_then(|send| hook("go_send", SEND, stack_check(&send)?));
        hooks.push(send.ok_or(Unfit::Function(SEND))?);
        let write = write.and_then(|write| hook("go_write", WRITE, stack_check(&write)?));
        hooks.push(write.ok_or(Unfit::Function(WRITE))?);
    }
    Ok(Goroutines { hooks, layout, version })
}

fn layout(minor: u32) -> Option<GoLayout> {
    let (_, [goroutine_machine, machine_goroutine, id]) =
        LAYOUTS.iter().rev().find(|(since, _)| (*since..=NEWEST).contains(&minor))?;
    Some(GoLayout { g_m: *goroutine_machine, m_curg: *machine_goroutine, goid: *id, reserved: 0 })
}

/// Where in the file a function jumps away to get more stack, if it must: its second or third instruction, by which
/// nothing has changed.
fn stack_check(function: &Function) -> Option<u64> {
    let code = function.code.as_slice();
    let after = match code {
        // cmp rsp, [r14+16]
        [0x49, 0x3b, 0x66, 0x10, ..] => 4,
        // lea r12, [rsp-n]; cmp r12, [r14+16]
        [0x4c, 0x8d, 0x64, 0x24, _, 0x4d, 0x3b, 0x66, 0x10, ..] => 9,
        [0x4c, 0x8d, 0xa4, 0x24, _, _, _, _, 0x4d, 0x3b, 0x66, 0x10, ..] => 12,
        _ => return None,
    };
    // jbe, short or long.
    let jumps = matches!(code.get(after..)?, [0x76, _, ..] | [0x0f, 0x86, _, _, _, _, ..]);
    jumps.then_some(function.offset.checked_add(after as u64)?)
}

/// Where in the file a function calls the one at `target`. Five bytes that say exactly this are a call.
fn call(function: &Function, target: u64) -> Option<u64> {
    let places = function.code.windows(5).zip(0u64..);
    let mut calls = places.filter_map(|(bytes, into)| {
        let [0xe8, distance @ ..] = bytes else { return None };
        let distance = i64::from(i32::from_le_bytes(distance.try_into().ok()?));
        let after = function.address.checked_add(into)?.checked_add(5)?;
        (after.checked_add_signed(distance)? == target).then_some(into)
    });
    let into = calls.next()?;
    calls.next().is_none().then_some(function.offset.checked_add(into)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(code: &[u8]) -> Function {
        Function { offset: 0x1000, address: 0x40_1000, code: code.to_vec() }
    }

    #[test]
    fn functions_are_probed_where_they_ask_for_stack() {
        // persistConnWriter.Write and roundTrip of Go 1.26, and a frame of less than 128 bytes.
        let write = [0x49, 0x3b, 0x66, 0x10, 0x76, 0x2f, 0x55, 0x48, 0x89, 0xe5];
        let send = [
            0x4c, 0x8d, 0xa4, 0x24, 0x58, 0xfe, 0xff, 0xff, 0x4d, 0x3b, 0x66, 0x10, 0x0f, 0x86, 0x68, 0x0e,
            0, 0,
        ];
        let small = [0x4c, 0x8d, 0x64, 0x24, 0xd0, 0x4d, 0x3b, 0x66, 0x10, 0x0f, 0x86, 0x68, 0x0e, 0, 0];
        assert_eq!(stack_check(&function(&write)), Some(0x1004));
        assert_eq!(stack_check(&function(&send)), Some(0x100c));
        assert_eq!(stack_check(&function(&small)), Some(0x1009));
        // No check, another comparison, another jump, cut short.
        assert_eq!(stack_check(&function(&[0x55, 0x48, 0x89, 0xe5])), None);
        assert_eq!(stack_check(&function(&[0x49, 0x3b, 0x66, 0x18, 0x76, 0x2f])), None);
        assert_eq!(stack_check(&function(&[0x49, 0x3b, 0x66, 0x10, 0x77, 0x2f])), None);
        (0..send.len())
            .for_each(|length| assert_eq!(stack_check(&function(send.get(..length).unwrap())), None));
    }

    #[test]
    fn a_call_is_told_by_what_it_calls() {
        // mov rax, rdx; call +0x10; mov ecx, 1; call -0x10.
        let code =
            [0x48, 0x89, 0xd0, 0xe8, 0x10, 0, 0, 0, 0xb9, 1, 0, 0, 0, 0xe8, 0xf0, 0xff, 0xff, 0xff, 0xc3];
        assert_eq!(call(&function(&code), 0x40_1018), Some(0x1003));
        assert_eq!(call(&function(&code), 0x40_1002), Some(0x100d));
        assert_eq!(call(&function(&code), 0x40_1003), None);
        assert_eq!(call(&function(&[code, code].concat()), 0x40_1018), Some(0x1003));
        let twice = [0xe8, 0x05, 0, 0, 0, 0xe8, 0, 0, 0, 0];
        assert_eq!(call(&function(&twice), 0x40_100a), None, "which of them is not known");
    }

    #[test]
    fn versions_that_were_looked_at() {
        let ids: Vec<_> = (16..29).map(|minor| layout(minor).map(|l| (l.m_curg, l.goid))).collect();
        let (old, middle, new) = (Some((192, 152)), Some((192, 160)), Some((184, 152)));
        assert_eq!(ids, [None, None, old, old, old, old, old, middle, middle, new, new, None, None]);
    }

    #[test]
    fn the_programs_are_loaded() {
        for program in ["go_start", "go_end", "go_send", "go_write"] {
            assert!(crate::capture::programs::UPROBES.contains(&program), "{program}");
        }
    }
}
