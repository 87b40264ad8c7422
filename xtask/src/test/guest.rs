//! The capture tests on another kernel, in a virtual machine.
//!
//! In: the test program `capture` of `sockspan-tests`, the agent, the services that start quickly. Out: a verdict.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Shared, Verdict, checks, real};
use crate::{
    build,
    process::{self, Group},
    services::Program,
    ui::{self, Step},
    vm, workspace,
};

/// The test program that runs in the guest.
const TEST: &str = "capture";
/// Where the guest has what is ours.
const FOLDER: &str = "/opt/sockspan";
/// Everything there is some ten times slower than here.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Runs the capture tests on `kernel`. Tests there see `SOCKSPAN_GUEST=1`, the probes to use, and no Java service.
pub fn capture(shared: &Shared, kernel: &str) -> Result<Verdict> {
    match vm::ensure() {
        Err(why) if !nix::unistd::geteuid().is_root() => return Ok(Verdict::Impossible(why.to_string())),
        result => result?,
    }
    let agent = shared.agent()?.clone();
    let services = shared.services()?;
    let test = test_program(&build_messages(shared)?)?;
    let mut files: Vec<(PathBuf, PathBuf)> = vec![
        (agent, format!("{FOLDER}/sockspan").into()),
        (test, format!("{FOLDER}/{TEST}").into()),
        (services.programs.clone(), format!("{FOLDER}/programs").into()),
    ];
    let mut portable = Vec::new();
    for program in services.sample.iter().chain(&services.variants) {
        if let Some(needed) = program.guest_files()? {
            files.extend(needed.into_iter().map(|path| (path.clone(), path)));
            portable.push(program.folder.clone());
        }
    }
    let wanted = |program: &Program| portable.contains(&program.folder);
    let list = real::services_file(services, "guest-services.json", wanted)?;
    files.push((list, format!("{FOLDER}/services.json").into()));
    let command = format!(
        "export SOCKSPAN_GUEST=1 SOCKSPAN_PROBES=syscalls SOCKSPAN_BIN={FOLDER}/sockspan \
         SOCKSPAN_SERVICES={FOLDER}/services.json SOCKSPAN_PROGRAMS={FOLDER}/programs RUST_BACKTRACE=1\n\
         uname -r\n{FOLDER}/{TEST} --test-threads=1"
    );
    let files: Vec<_> = files.iter().map(|(host, guest)| (host.as_path(), guest.as_path())).collect();
    let outcome = vm::run(kernel, &files, &command, LIMIT, false)?;
    let log = workspace::log("vm-tests");
    fs::write(&log, &outcome.output)?;
    if !outcome.output.starts_with(&format!("{kernel}.")) {
        bail!("the guest runs another kernel than {kernel}; {}", ui::excerpt(&log));
    }
    Ok(Verdict::Ran(checks::judge(&outcome.output, outcome.status, &log)))
}

/// Builds the test program without running it; returns cargo's messages, a JSON object a line.
fn build_messages(shared: &Shared) -> Result<String> {
    let log = workspace::log("vm-build");
    process::start_log(&log)?;
    let messages = workspace::output().join("vm-build.json");
    let mut cargo = build::with_object(shared.object()?);
    cargo.args([
        "test",
        "--package",
        "sockspan-tests",
        "--test",
        TEST,
        "--no-run",
        "--message-format",
        "json",
    ]);
    Step::run("building the capture tests", |step| {
        step.watch(&log);
        process::log_to(&mut cargo, &log)?;
        // One file for messages, one for people.
        cargo.stdout(fs::File::create(&messages)?);
        let status = Group::spawn(&mut cargo)?.wait(super::LIMIT)?;
        if !status.success() {
            bail!("cargo could not build them; {}", ui::excerpt(&log));
        }
        Ok(())
    })?;
    fs::read_to_string(&messages).context("cargo left no messages")
}

fn test_program(messages: &str) -> Result<PathBuf> {
    let values = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = values.filter(|m| m["target"]["name"] == TEST && m["profile"]["test"] == true);
    let found = programs.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    found.with_context(|| format!("cargo built no test program `{TEST}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_cargos_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"capture\"},\"profile\":{\"test\":true},\
                        \"executable\":\"/t/capture-1\"}\n{\"reason\":\"build-finished\"}\n";
        assert_eq!(test_program(messages).expect("it is there"), PathBuf::from("/t/capture-1"));
        assert!(test_program("{}\n").is_err());
    }
}
