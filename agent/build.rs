//! Puts the eBPF programs into the binary. `cargo xtask build` builds them and says where they are; without
//! them the agent still builds (the pipeline needs no kernel), and says so when it is asked to trace.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=SOCKSPAN_EBPF_OBJECT");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("sockspan-ebpf");
    match env::var_os("SOCKSPAN_EBPF_OBJECT") {
        Some(object) => {
            println!("cargo::rerun-if-changed={}", object.display());
            let bytes = fs::read(&object)
                .unwrap_or_else(|error| panic!("SOCKSPAN_EBPF_OBJECT={}: {error}", object.display()));
            fs::write(&out, bytes).expect("OUT_DIR can be written");
        }
        None => fs::write(&out, []).expect("OUT_DIR can be written"),
    }
}
