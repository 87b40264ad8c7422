//! Node's functions. A request of libuv's puts the context aside, its callback takes it up again. When the JavaScript
//! that libuv called has returned, its context ends: what is called next without a context of its own (a message of a
//! worker, a signal, the end of a child, an addon's thread) belongs to nobody.
//!
//! In the names as GCC and Clang write them, of Node 18 and later.

use std::path::Path;

use super::{
    Hook, Rule,
    code::{Place, handed_on},
};
use crate::process::binary::{Binary, open};

/// JavaScript asks that the loop goes on for the sake of a handle.
const REF: &str = "_ZN4node10HandleWrap3RefERKN2v820FunctionCallbackInfoINS1_5ValueEEE";

/// What the names of all these functions begin with.
pub(super) const PREFIXES: [&str; 4] = ["uv_", "_ZN4node", "_ZZN4node", "_ZN2v87Isolate16ClearKept"];

const fn needed(program: &'static str, what: &'static str, matches: fn(&str) -> bool) -> Rule {
    Rule { program, needed: true, what, matches }
}

const fn wanted(program: &'static str, what: &'static str, matches: fn(&str) -> bool) -> Rule {
    Rule { program, needed: false, what, matches }
}

pub(super) const RULES: [Rule; 21] = [
    needed("uv_save_first", "uv_tcp_connect", |n| n == "uv_tcp_connect"),
    needed("uv_save_second", "uv_getaddrinfo", |n| n == "uv_getaddrinfo"),
    needed("uv_save_work", "uv_queue_work", |n| n == "uv_queue_work"),
    wanted("uv_save_first", "uv_pipe_connect", |n| n == "uv_pipe_connect" || n == "uv_pipe_connect2"),
    wanted("uv_save_first", "uv_write2", |n| n == "uv_write2"),
    wanted("uv_save_first", "uv_shutdown", |n| n == "uv_shutdown"),
    wanted("uv_save_work", "uv_fs_*", is_fs_request),
    needed("uv_resume", "MakeLibuvRequestCallback<uv_getaddrinfo_s>", |n| is_callback(n, "uv_getaddrinfo_s")),
    needed("uv_resume", "MakeLibuvRequestCallback<uv_connect_s>", |n| is_callback(n, "uv_connect_s")),
    // Where one of these is missing, its continuations are nobody's: the context before it has ended.
    wanted("uv_resume", "MakeLibuvRequestCallback<uv_fs_s>", |n| is_callback(n, "uv_fs_s")),
    wanted("uv_resume", "MakeLibuvRequestCallback<uv_write_s>", |n| {
        ["uv_write_s", "uv_shutdown_s"].iter().any(|r| is_callback(n, r))
    }),
    wanted("uv_resume", "ThreadPoolWork's callback", is_work_callback),
    needed("uv_end", "v8::Isolate::ClearKeptObjects", |n| n == "_ZN2v87Isolate16ClearKeptObjectsEv"),
    wanted("uv_call_first", "node::AsyncWrap::MakeCallback", |n| {
        n.starts_with("_ZN4node9AsyncWrap12MakeCallbackEN2v85LocalINS1_8FunctionEE")
    }),
    wanted("uv_call_second", "node::InternalCallbackScope", |n| {
        n.starts_with("_ZN4node21InternalCallbackScopeC1EPNS_9AsyncWrapE")
    }),
    needed("uv_clear", "node::Environment::RunTimers", |n| {
        n == "_ZN4node11Environment9RunTimersEP10uv_timer_s"
    }),
    // Each turn of the loop: ends what an exception kept from ending.
    needed("uv_clear", "node::Environment::CheckImmediate", |n| {
        n == "_ZN4node11Environment14CheckImmediateEP10uv_check_s"
    }),
    wanted("uv_clear", "node::HandleWrap::OnClose", |n| n == "_ZN4node10HandleWrap7OnCloseEP11uv_handle_s"),
    wanted("uv_clear", "node::PerIsolatePlatformData::FlushForegroundTasksInternal", |n| {
        n.contains("PerIsolatePlatformData28FlushForegroundTasksInternal")
    }),
    wanted("uv_clear", "node::worker::MessagePort::OnMessage", |n| {
        n.starts_with("_ZN4node6worker11MessagePort9OnMessageE")
    }),
    wanted("uv_clear", "node::ConnectionWrap::OnConnection", |n| {
        n.starts_with("_ZN4node14ConnectionWrapI") && n.contains("12OnConnectionE")
    }),
];

/// Where Node is about to call `uv_ref(handle)`: HTTP clients have it so for a connection that was idle when they take it
/// for a request. None where that is not to be seen: in another library, or on another machine than x86-64.
pub(super) fn taken(path: &Path) -> Vec<Hook> {
    let Some(file) = open(path) else { return Vec::new() };
    let Some(binary) = Binary::parse(&file) else { return Vec::new() };
    let [Some(entry), Some(target)] = binary.symbols([REF, "uv_ref"]) else { return Vec::new() };
    let hook = |place: Place| {
        Some(Hook {
            program: "uv_take",
            file: path.to_path_buf(),
            offset: binary.offset(place.address)?,
            cookie: 0,
            function: "node::HandleWrap::Ref".to_owned(),
        })
    };
    handed_on(entry, target, |address, most| binary.bytes(address, most))
        .into_iter()
        .filter_map(hook)
        .collect()
}

fn is_callback(name: &str, request: &str) -> bool {
    name.contains("MakeLibuvRequestCallback") && name.contains("7WrapperE") && name.contains(request)
}

/// The second lambda of `ThreadPoolWork::ScheduleWork`, as the function that libuv is given.
fn is_work_callback(name: &str) -> bool {
    is_callback(name, "uv_work_s")
        || (name.contains("ThreadPoolWork12ScheduleWork")
            && name.contains("uv_work_siE")
            && (name.contains("_FUN") || name.contains("__invoke")))
}

fn is_fs_request(name: &str) -> bool {
    name.strip_prefix("uv_fs_")
        .is_some_and(|rest| !["event", "poll", "get", "req"].iter().any(|other| rest.starts_with(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From .dynsym of the official Node 20 for Linux, which GCC built.
    const NODE_20: [(&str, &str); 26] = [
        ("uv_tcp_connect", "uv_save_first"),
        ("uv_pipe_connect2", "uv_save_first"),
        ("uv_write2", "uv_save_first"),
        ("uv_shutdown", "uv_save_first"),
        ("uv_getaddrinfo", "uv_save_second"),
        ("uv_queue_work", "uv_save_work"),
        ("uv_fs_open", "uv_save_work"),
        ("uv_fs_event_init", ""),
        ("uv_fs_req_cleanup", ""),
        ("uv_fs_poll_start", ""),
        (
            "_ZN4node24MakeLibuvRequestCallbackI16uv_getaddrinfo_sPFvPS1_iP8addrinfoEE7WrapperES2_iS4_",
            "uv_resume",
        ),
        ("_ZN4node24MakeLibuvRequestCallbackI16uv_getnameinfo_sPFvPS1_iPKcS4_EE7WrapperES2_iS4_S4_", ""),
        ("_ZN4node24MakeLibuvRequestCallbackI12uv_connect_sPFvPS1_iEE7WrapperES2_i", "uv_resume"),
        ("_ZN4node24MakeLibuvRequestCallbackI10uv_write_sPFvPS1_iEE7WrapperES2_i", "uv_resume"),
        ("_ZN4node24MakeLibuvRequestCallbackI13uv_shutdown_sPFvPS1_iEE7WrapperES2_i", "uv_resume"),
        ("_ZN4node24MakeLibuvRequestCallbackI7uv_fs_sPFvPS1_EE7WrapperES2_", "uv_resume"),
        ("_ZZN4node14ThreadPoolWork12ScheduleWorkEvENUlP9uv_work_siE0_4_FUNES2_i", "uv_resume"),
        ("_ZZN4node14ThreadPoolWork12ScheduleWorkEvENUlP9uv_work_sE_4_FUNES2_", ""),
        ("_ZN4node14ThreadPoolWork12ScheduleWorkEv", ""),
        ("_ZN2v87Isolate16ClearKeptObjectsEv", "uv_end"),
        ("_ZN4node9AsyncWrap12MakeCallbackEN2v85LocalINS1_8FunctionEEEiPNS2_INS1_5ValueEEE", "uv_call_first"),
        ("_ZN4node21InternalCallbackScopeC1EPNS_9AsyncWrapEi", "uv_call_second"),
        ("_ZN4node21InternalCallbackScopeC2EPNS_9AsyncWrapEi", ""),
        ("_ZN4node6worker11MessagePort9OnMessageENS1_21MessageProcessingModeE", "uv_clear"),
        ("_ZN4node6worker11MessagePort7OnCloseEv", ""),
        ("_ZN4node14ConnectionWrapINS_7TCPWrapE8uv_tcp_sE12OnConnectionEP11uv_stream_si", "uv_clear"),
    ];

    /// As Clang names the functions that libuv is given of a lambda.
    const CLANG: [(&str, &str); 2] = [
        ("_ZZN4node14ThreadPoolWork12ScheduleWorkEvENUlP9uv_work_siE0_8__invokeES2_i", "uv_resume"),
        ("_ZZN4node14ThreadPoolWork12ScheduleWorkEvENUlP9uv_work_sE_8__invokeES2_", ""),
    ];

    #[test]
    fn each_function_runs_its_program_alone() {
        for (name, program) in NODE_20.into_iter().chain(CLANG) {
            let met: Vec<_> = RULES.iter().filter(|r| (r.matches)(name)).map(|r| r.program).collect();
            let expected: Vec<_> = [program].into_iter().filter(|p| !p.is_empty()).collect();
            assert_eq!(met, expected, "{name}");
            assert!(program.is_empty() || PREFIXES.iter().any(|p| name.starts_with(p)), "{name}");
        }
    }

    #[test]
    fn the_programs_are_loaded() {
        for rule in &RULES {
            assert!(crate::capture::programs::UPROBES.contains(&rule.program), "{}", rule.program);
        }
    }
}
