//! Real services whose threads prove nothing and that hand on headers: a service on asyncio, and nginx.
//!
//! In: the port that they ask for all that they are asked for. Out: services that answer, and requests each of which has
//! headers of its own.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use crate::{
    child::{Running, scratch},
    given,
    http::{self, Connection},
    load::{self, Answer},
    services::free_port,
    wait_until,
};

/// A service that answers; killed when dropped.
#[derive(Debug)]
pub struct Forwarder {
    /// Where it listens on loopback.
    pub port: u16,
    process: Running,
    folder: Option<std::path::PathBuf>,
}

impl Forwarder {
    /// On asyncio: hands on the headers of these names to `next`; without `next` it answers alone.
    pub fn asyncio(name: &str, next: Option<u16>, headers: &[&str]) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("forwarding/asyncio_service.py");
        let port = free_port();
        let mut command = Command::new("python3");
        command.arg(program).env("OTEL_SERVICE_NAME", name).env("PORT", port.to_string());
        command.env("FORWARD", headers.join(","));
        command.envs(next.map(|next| ("NEXT", next.to_string())));
        Self { port, process: Running::spawn(name, &mut command), folder: None }.ready()
    }

    /// nginx: hands on what it is asked for, and all headers, to `next`; under `/given/` it gives each request an id of its
    /// own.
    pub fn nginx(next: u16) -> Self {
        let (port, folder) = (free_port(), scratch("nginx"));
        fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
        let proxy = "proxy_pass http://next; proxy_http_version 1.1; proxy_set_header Connection \"\"";
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {}/{what};\n", folder.display()))
            .concat();
        let configuration = format!(
            "daemon off; worker_processes 2; pid {}/pid; error_log stderr warn;\n\
             events {{ worker_connections 512; }}\n\
             http {{ access_log off; {temporary}\
             upstream next {{ server 127.0.0.1:{next}; keepalive 8; }}\n\
             server {{ listen 127.0.0.1:{port};\n\
             location = / {{ return 200 ok; }}\n\
             location / {{ {proxy}; }}\n\
             location /given/ {{ {proxy}; proxy_set_header X-Request-ID $request_id;\n\
             rewrite ^/given(/.*) $1 break; }} }} }}\n",
            folder.display()
        );
        fs::write(folder.join("nginx.conf"), configuration).expect("its folder can be written");
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&folder).args(["-e", "stderr", "-c", "nginx.conf"]);
        Self { port, process: Running::spawn("nginx", &mut command), folder: Some(folder) }.ready()
    }

    fn ready(mut self) -> Self {
        let ready = wait_until(given::limit(Duration::from_secs(30)), || {
            assert!(self.process.ended().is_none(), "a service ended at its start\n{}", self.process.show());
            http::get(self.port, "/").is_ok_and(|response| response.status == 200)
        });
        assert!(ready, "a service did not answer\n{}", self.process.show());
        self
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            // Its workers end with it, when it is asked to.
            self.process.signal(nix::sys::signal::Signal::SIGTERM);
            wait_until(Duration::from_secs(5), || self.process.ended().is_some());
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Makes `total` requests for `path`, `concurrency` at a time, each with the headers that `headers` has for its id, which
/// takes the place of `{}`.
pub fn ask(
    port: u16,
    path: &str,
    total: usize,
    concurrency: usize,
    headers: impl Fn(&str) -> Vec<(String, String)> + Sync,
) -> Vec<Answer> {
    let left = AtomicUsize::new(total);
    let more = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
    let one = || {
        let mut kept = None;
        let mut answers = Vec::new();
        while more() {
            let id = load::next_id();
            let (path, headers, start) = (path.replace("{}", &id), headers(&id), load::now());
            let request = http::Request { method: "GET", path: &path, headers: &headers, keep: true };
            let mut connection =
                kept.take().unwrap_or_else(|| Connection::open(port).expect("the service listens"));
            let response = connection.exchange(&request).expect("the service answers");
            kept = Some(connection).filter(|_| !response.closes);
            answers.push(Answer { id, status: Some(response.status), start, end: load::now() });
        }
        answers
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..concurrency).map(|_| scope.spawn(one)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a client does not panic")).collect()
    })
}
