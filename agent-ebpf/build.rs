//! Tells the programs which machine's registers they will meet: eBPF itself has none of its own.

fn main() {
    println!("cargo::rerun-if-env-changed=SOCKSPAN_TARGET_ARCH");
    println!("cargo::rustc-check-cfg=cfg(machine, values(\"x86_64\", \"aarch64\"))");
    let host = std::env::var("HOST").unwrap_or_default();
    let machine = std::env::var("SOCKSPAN_TARGET_ARCH")
        .unwrap_or_else(|_| host.split('-').next().unwrap_or_default().to_string());
    assert!(
        matches!(machine.as_str(), "x86_64" | "aarch64"),
        "no register layout for machine {machine:?}: set SOCKSPAN_TARGET_ARCH to x86_64 or aarch64"
    );
    println!("cargo::rustc-cfg=machine=\"{machine}\"");
}
