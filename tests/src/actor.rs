//! A process that does on sockets what a test tells it, one call after the other, and nothing else.
//!
//! In: commands of the program `actor`. Out: what each call returned, and between which moments.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::IpAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::programs;

/// A socket, by the number that actors know it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket(u32);

impl Socket {
    /// For commands.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// Two moments between which something happened, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Not before.
    pub from: u64,
    /// Not after.
    pub to: u64,
}

impl Moment {
    /// From the beginning of this to the end of `later`.
    #[must_use]
    pub fn until(self, later: Self) -> Self {
        Self { from: self.from, to: later.to }
    }
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// A count, a port or a process id; negative: the error, as the kernel numbers them.
    pub result: i64,
    /// When.
    pub moment: Moment,
}

/// Where to listen, or to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// By TCP; to listen at port 0 is to listen at a free one, and at `::` for IPv4 as well.
    Ip(IpAddr, u16),
    /// By a Unix socket.
    Path(String),
}

impl Address {
    /// This port of 127.0.0.1.
    pub fn loopback(port: u16) -> Self {
        Self::Ip(IpAddr::from([127, 0, 0, 1]), port)
    }

    fn words(&self) -> String {
        match self {
            Self::Ip(ip, port) => format!("{ip} {port}"),
            Self::Path(path) => format!("{path} 0"),
        }
    }
}

/// A running actor; killed when dropped, and its children end with it.
#[derive(Debug)]
pub struct Actor {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Actor {
    /// Starts one.
    ///
    /// # Panics
    /// If there is no such program.
    pub fn start() -> Self {
        let mut command: Command = programs::command("actor");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the actor can be started");
        let (orders, answers) = (child.stdin.take(), child.stdout.take());
        Self {
            orders: orders.expect("its input is ours"),
            answers: BufReader::new(answers.expect("its output is ours")),
            child,
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives a command without waiting for its end.
    ///
    /// # Panics
    /// If it has ended.
    pub fn begin(&mut self, command: &str) {
        writeln!(self.orders, "{command}").expect("the actor listens");
    }

    /// Waits for the end of the command that was given.
    ///
    /// # Panics
    /// If it has ended, as it does when a command takes a minute.
    pub fn done(&mut self) -> Done {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the actor's output can be read");
        let words: Vec<i64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [result, from, to] = words[..] else { panic!("the actor ended in a command: {line:?}") };
        Done { result, moment: Moment { from: from.unsigned_abs(), to: to.unsigned_abs() } }
    }

    /// Does it, whatever comes of it.
    pub fn attempt(&mut self, command: &str) -> Done {
        self.begin(command);
        self.done()
    }

    /// Does it.
    ///
    /// # Panics
    /// If it fails.
    pub fn perform(&mut self, command: &str) -> Done {
        let done = self.attempt(command);
        let failed = std::io::Error::from_raw_os_error(i32::try_from(-done.result).unwrap_or_default());
        assert!(done.result >= 0, "{command:.40}: {failed}");
        done
    }

    /// Listens; the port, where there are ports.
    pub fn listen(&mut self, address: &Address) -> (Socket, u16) {
        let socket = next();
        let done = self.perform(&format!("listen {} {}", socket.0, address.words()));
        (socket, u16::try_from(done.result).expect("a port"))
    }

    /// Connects.
    pub fn connect(&mut self, address: &Address) -> Socket {
        let socket = next();
        self.perform(&format!("connect {} {}", socket.0, address.words()));
        socket
    }

    /// Takes the next connection.
    pub fn accept(&mut self, listener: Socket) -> Socket {
        let socket = next();
        self.perform(&format!("accept {} {}", socket.0, listener.0));
        socket
    }

    /// Whether a connection waits to be accepted.
    pub fn has_waiting(&mut self, listener: Socket) -> bool {
        self.perform(&format!("ready {}", listener.0)).result > 0
    }

    /// One write of all these bytes.
    ///
    /// # Panics
    /// If not all of them were taken.
    pub fn send(&mut self, socket: Socket, bytes: &[u8]) -> Moment {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let done = self.perform(&format!("send {} {hex}", socket.0));
        assert_eq!(done.result, bytes.len() as i64, "all is written at once");
        done.moment
    }

    /// Reads so many bytes.
    ///
    /// # Panics
    /// If fewer come before the end.
    pub fn receive(&mut self, socket: Socket, bytes: usize) -> Moment {
        let done = self.perform(&format!("recv {} {bytes}", socket.0));
        assert_eq!(done.result, bytes as i64, "all of it comes");
        done.moment
    }

    /// Reads to the end of the stream, or an error; what came of it.
    pub fn receive_end(&mut self, socket: Socket) -> Done {
        self.attempt(&format!("recv {} 1", socket.0))
    }

    /// Says that it sends no more.
    pub fn end(&mut self, socket: Socket) -> Moment {
        self.perform(&format!("shut {} 1", socket.0)).moment
    }

    /// Closes it.
    pub fn close(&mut self, socket: Socket) -> Moment {
        self.perform(&format!("close {}", socket.0)).moment
    }

    /// Closes it so that the other end is reset.
    pub fn reset(&mut self, socket: Socket) -> Moment {
        self.perform(&format!("reset {}", socket.0)).moment
    }

    /// Hands a socket on over a Unix socket, and has it no more.
    pub fn give(&mut self, socket: Socket, over: Socket) {
        self.perform(&format!("give {} {}", socket.0, over.0));
    }

    /// Takes a socket that is handed on.
    pub fn take(&mut self, over: Socket) -> Socket {
        let socket = next();
        self.perform(&format!("take {} {}", socket.0, over.0));
        socket
    }

    /// A child does what is told from now on, and has all sockets; its parent closes this one and waits. Its process
    /// id.
    pub fn fork(&mut self, closed: Socket) -> u32 {
        let done = self.perform(&format!("fork {}", closed.0));
        u32::try_from(done.result).expect("a process id")
    }

    /// Ends it at once.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn kill(&mut self) -> Moment {
        let now = || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(now.as_nanos()).unwrap_or_default()
        };
        let from = now();
        self.child.kill().and_then(|()| self.child.wait()).expect("a child can be ended");
        Moment { from, to: now() }
    }

    /// The child ends; its parent goes on.
    pub fn exit(&mut self) {
        self.perform("exit");
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The next number that no actor has for a socket; after many they come round.
fn next() -> Socket {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    Socket(NEXT.fetch_add(1, Ordering::Relaxed) % 256)
}
