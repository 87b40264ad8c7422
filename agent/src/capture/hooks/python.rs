//! CPython's hooks: where a context has just been copied, where one ends; and where uvloop runs, where one is entered
//! and where a stream is written to. No function is waited out: the new context is in a register before its function
//! returns, and the code says where.

use super::{
    Hook, Hooks,
    code::{Place, argument, results},
};
use crate::process::{
    CPython,
    binary::{Binary, open},
};

/// uvloop's `UVStream.write`, which every writer of a TCP transport calls, as Cython names it.
const WRITE: &str = "__pyx_f_6uvloop_4loop_8UVStream_write";

/// The hooks for `python`.
pub fn python(python: &CPython) -> Hooks {
    let mut found = Hooks::default();
    let unreadable = || "PyContext_CopyCurrent".to_owned();
    let Some(file) = open(&python.file) else {
        found.missing.push(unreadable());
        return found;
    };
    let Some(binary) = Binary::parse(&file) else {
        found.missing.push(unreadable());
        return found;
    };
    let code = |address, most| binary.bytes(address, most);
    let functions = &python.functions;
    let mut hook = |program, function: &str, places: Option<Vec<Place>>| {
        let hooks: Option<Vec<Hook>> = places.and_then(|places| {
            let hook = |place: &Place| {
                Some(Hook {
                    program,
                    file: python.file.clone(),
                    offset: binary.offset(place.address)?,
                    cookie: place.register.into(),
                    function: function.to_owned(),
                })
            };
            places.iter().map(hook).collect()
        });
        match hooks {
            Some(hooks) => found.hooks.extend(hooks),
            None => found.missing.push(function.to_owned()),
        }
    };
    let one = |place: Option<Place>| place.map(|place| vec![place]);
    hook("py_birth", "PyContext_CopyCurrent", results(functions.copy_current, code));
    hook("py_death", "PyContext_Type.tp_dealloc", one(argument(functions.dealloc, code)));
    if python.uvloop.is_some() {
        hook("py_enter", "PyContext_Enter", one(argument(functions.enter, code)));
    }
    if let Some(uvloop) = &python.uvloop {
        match write(uvloop) {
            Some(hook) => found.hooks.push(hook),
            // Then nothing that is written is anybody's.
            None => found.absent.push("uvloop's UVStream.write".into()),
        }
    }
    found
}

fn write(uvloop: &std::path::Path) -> Option<Hook> {
    let file = open(uvloop)?;
    let binary = Binary::parse(&file)?;
    let [entry] = binary.symbols([WRITE]);
    let place = argument(entry?, |address, most| binary.bytes(address, most))?;
    Some(Hook {
        program: "py_write",
        file: uvloop.to_path_buf(),
        offset: binary.offset(place.address)?,
        cookie: place.register.into(),
        function: WRITE.into(),
    })
}
