//! Which exchange a thread is working for: the kernel side's own part of causality, since only here the
//! moment of a call can be compared with what its thread did before.

use aya_ebpf::{macros::map, maps::LruHashMap};
use sockspan_ebpf::{Counter, EventKind, Evidence, HEIR, Policy, Process, process_flag};

use crate::kernel::{
    call::Call, connection::Connection, count, emit, greenlet, heir, names, read, task, traced,
};

/// What a thread works for.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// The exchange; 0 for none.
    pub exchange: u64,
    /// By whose end an event loop came to it; see [`sockspan_ebpf::Data::via`].
    pub via: u64,
}

impl Work {
    pub const NONE: Self = Self { exchange: 0, via: 0 };
}

/// A thread of a traced process.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Thread {
    pub work: Work,
    /// Its process: thread ids are reused.
    pub tgid: u32,
    /// Exchanges whose request it read and whose answer has not begun.
    pub open: u32,
    /// It read one request while another was unanswered, and not all have been answered since.
    pub shared: u32,
    /// Bits of [`mark`].
    pub marks: u32,
    /// When `open` was last 0, in nanoseconds of CLOCK_MONOTONIC.
    pub idle: u64,
}

/// Where a thread takes work from. Apart from [`Thread`], for which there is no more room on the stack.
#[repr(C)]
#[derive(Clone, Copy)]
struct Pooled {
    /// The queue that it asked last.
    asked: u64,
    /// The queue of the pool that it is of; 0 for none.
    queue: u64,
}

/// Bits of [`Thread::marks`].
mod mark {
    /// It serves several requests by turns, as its name says: it is evidence for none.
    pub const MANY: u32 = 1;
    /// It made a call for what it works for, which nobody had begun to answer.
    pub const CALLED: u32 = 2;
    /// It made one after the answer had begun.
    pub const CALLED_LATE: u32 = 4;
    /// It waits for whichever of many sockets is ready, and its name was looked at.
    pub const WAITS: u32 = 8;
    /// It was looked at whether its name says that it takes up tasks.
    pub const NAMED: u32 = 16;
    /// What it works for is being answered, or over.
    pub const ANSWERED: u32 = 32;
    /// What holds whatever it works for.
    pub const LASTING: u32 = MANY | WAITS | NAMED;
}

/// A queue that is not known: the next that is asked.
const ANY_QUEUE: u64 = u64::MAX;
/// A thread that was never idle for so long has lost count: of a connection that was forgotten, or closed unseen.
const MISCOUNTED: u64 = 600_000_000_000;

/// A pointer of one process's memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Handle {
    pub tgid: u64,
    pub address: u64,
}

impl Handle {
    #[inline(always)]
    pub fn new(tgid: u32, address: u64) -> Self {
        Self { tgid: u64::from(tgid), address }
    }
}

#[map]
static THREADS: LruHashMap<u32, Thread> = LruHashMap::with_max_entries(16384, 0);

/// No entry for a thread that was never seen to ask for work.
#[map]
static POOLED: LruHashMap<u32, Pooled> = LruHashMap::with_max_entries(16384, 0);

/// What is known of where the thread takes work from.
#[inline(always)]
fn pooled(tid: u32) -> Pooled {
    // SAFETY: copied out at once.
    unsafe { POOLED.get(tid) }.copied().unwrap_or(Pooled { asked: 0, queue: 0 })
}

#[inline(always)]
fn thread(tid: u32, tgid: u32) -> Option<*mut Thread> {
    let thread = THREADS.get_ptr_mut(tid)?;
    // SAFETY: a map value stays valid while the program runs.
    unsafe { ((*thread).tgid == tgid).then_some(thread) }
}

/// A thread of which nothing was known.
#[inline(always)]
fn begin(tid: u32, tgid: u32, work: Work) {
    let thread = Thread { work, tgid, open: 0, shared: 0, marks: 0, idle: read::now() };
    let _ = THREADS.insert(tid, thread, 0);
}

/// What the thread works for.
#[inline(always)]
pub fn current(tid: u32, tgid: u32) -> Work {
    // SAFETY: as above.
    thread(tid, tgid).map_or(Work::NONE, |t| unsafe { (*t).work })
}

/// Sets what the thread works for.
#[inline(always)]
pub fn enter(tid: u32, tgid: u32, work: Work) {
    match thread(tid, tgid) {
        // SAFETY: as above.
        Some(t) => unsafe { (*t).work = work },
        None if work.exchange == 0 => {}
        None => begin(tid, tgid, work),
    }
}

/// The thread starts another one: that inherits what it works for, if that is evidence.
#[inline(always)]
pub fn inherit(process: *mut Process, tid: u32, tgid: u32, made: u32) {
    // A thread's id may have been another's, whose end was not seen.
    forget(made);
    let policy = policy_of(process, tid, tgid);
    if policy != Policy::Thread as u32 {
        return;
    }
    // No call is made by that: a pool can grow before it is clear who goes on with the request.
    let of = acts(process, tid, tgid);
    if of != 0 {
        let exchange = heir::begin(handle(tgid, made), of);
        enter(made, tgid, Work { exchange, via: 0 });
    }
}

/// What the thread works for, or stands for that, where threads are evidence; something is done in its name.
#[inline(always)]
pub fn acts(process: *mut Process, tid: u32, tgid: u32) -> u64 {
    // SAFETY: as above.
    let work =
        thread(tid, tgid).map_or(Work::NONE, |t| believed(process, Policy::Thread as u32, unsafe { &*t }));
    heir::acts(handle(tgid, tid), work.exchange);
    work.exchange
}

/// The thread takes work out of the queue that it asked, which was put there in the name of `of`; 0: of nobody. Who has a
/// request to answer empties a queue, and is none of its pool.
#[inline(always)]
pub fn take_work(tid: u32, tgid: u32, of: u64) {
    if thread(tid, tgid).is_none() {
        begin(tid, tgid, Work::NONE);
    }
    let Some(t) = thread(tid, tgid) else { return };
    // SAFETY: as above.
    let t = unsafe { &mut *t };
    if t.open == 0 {
        let exchange = if of == 0 { 0 } else { heir::begin(handle(tgid, tid), of) };
        // It may have asked before the breakpoints were there.
        let asked = pooled(tid).asked;
        let _ = POOLED.insert(tid, Pooled { asked, queue: if asked == 0 { ANY_QUEUE } else { asked } }, 0);
        (t.work, t.marks) = (Work { exchange, via: 0 }, t.marks & mark::LASTING);
    }
}

/// The thread asks this queue for work: if it took some out of it before, it has done that.
#[inline(always)]
pub fn ask_for_work(tid: u32, tgid: u32, queue: u64) {
    let known = pooled(tid).queue;
    let _ = POOLED.insert(tid, Pooled { asked: queue, queue: known }, 0);
    let Some(t) = thread(tid, tgid) else { return };
    // SAFETY: as above.
    let t = unsafe { &mut *t };
    // What it serves itself goes on.
    if (known == queue || known == ANY_QUEUE) && t.work.exchange & HEIR != 0 {
        heir::end(handle(tgid, tid), t.work.exchange);
        t.work = Work::NONE;
    }
}

/// What stands for the exchange of the work that the thread took out of a pool's queue; 0 for none.
#[inline(always)]
fn taken(tid: u32, tgid: u32) -> u64 {
    // SAFETY: as above.
    if pooled(tid).queue == 0 {
        return 0;
    }
    let exchange = current(tid, tgid).exchange;
    heir::acts(handle(tgid, tid), exchange);
    exchange
}

/// The thread ends.
#[inline(always)]
pub fn end(tid: u32, tgid: u32) {
    heir::end(handle(tgid, tid), current(tid, tgid).exchange);
    forget(tid);
}

#[inline(always)]
fn handle(tgid: u32, tid: u32) -> Handle {
    Handle::new(tgid, u64::from(tid))
}

/// Forgets the thread.
#[inline(always)]
pub fn forget(tid: u32) {
    let _ = THREADS.remove(tid);
    let _ = POOLED.remove(tid);
}

/// One unanswered exchange less for the thread that counts this connection's.
#[inline(always)]
pub fn release(connection: &mut Connection) {
    if connection.owner == 0 {
        return;
    }
    if let Some(owner) = thread(connection.owner, connection.owner_tgid) {
        // SAFETY: as above.
        unsafe {
            if (*owner).open > 0 {
                (*owner).open -= 1;
            }
            if (*owner).open == 0 {
                (*owner).shared = 0;
            }
            if (*owner).work.exchange == connection.exchange {
                (*owner).marks |= mark::ANSWERED;
            }
        }
    }
    connection.owner = 0;
}

/// The policy that goes for the thread: one that changes no greenlets can be as good as any other.
#[inline(always)]
fn policy_of(process: *mut Process, tid: u32, tgid: u32) -> u32 {
    // SAFETY: as above.
    let policy = unsafe { (*process).policy };
    if policy == Policy::Greenlet as u32 && greenlet::is_plain(process, tid, tgid) {
        Policy::Thread as u32
    } else {
        policy
    }
}

/// The thread reads (more of) a request: it works for that exchange now, or the task that it runs does.
#[inline(always)]
pub fn serve(process: *mut Process, call: &Call, connection: &mut Connection, unanswered: bool) {
    let (tid, tgid) = (call.tid, call.tgid);
    let policy = policy_of(process, tid, tgid);
    if task::goes_by_tasks(policy) {
        task::serve(process, call, connection);
        return;
    }
    if policy == Policy::None as u32 {
        return;
    }
    if policy == Policy::Thread as u32 {
        serve_by_thread(process, tid, tgid, connection, u32::from(unanswered));
        return;
    }
    enter(tid, tgid, Work { exchange: connection.exchange, via: 0 });
    connection.server = tid;
}

/// As [`serve`], where threads are evidence. A function of its own, as those below are, that gives back nothing: the
/// verifier then goes on with one state.
#[inline(never)]
fn serve_by_thread(
    process: *mut Process,
    tid: u32,
    tgid: u32,
    connection: &mut Connection,
    unanswered: u32,
) -> u32 {
    pass_on(process, tid, tgid, connection, mark::CALLED | mark::CALLED_LATE);
    connection.server = 0;
    if take(tid, tgid, connection.exchange) == 0 {
        return 0;
    }
    connection.server = tid;
    if unanswered != 0 && connection.owner != tid {
        release(connection);
        (connection.owner, connection.owner_tgid) = (tid, tgid);
        if let Some(t) = thread(tid, tgid) {
            // SAFETY: as above.
            take_up(unsafe { &mut *t });
        }
    }
    0
}

/// The thread works for this exchange now. 0: it serves several by turns, and what it does proves nothing.
#[inline(never)]
fn take(tid: u32, tgid: u32, exchange: u64) -> u32 {
    if thread(tid, tgid).is_none() {
        begin(tid, tgid, Work::NONE);
    }
    let Some(t) = thread(tid, tgid) else { return 0 };
    // SAFETY: as above.
    let t = unsafe { &mut *t };
    if t.marks & mark::NAMED == 0 {
        // The first thread has the name of its program.
        let many = if tid == tgid { 0 } else { names::changes_tasks() };
        t.marks |= mark::NAMED | (many & mark::MANY);
    }
    if t.marks & mark::MANY != 0 {
        t.work = Work::NONE;
        return 0;
    }
    if t.work.exchange != exchange {
        (t.work, t.marks) = (Work { exchange, via: 0 }, t.marks & mark::LASTING);
    }
    1
}

/// Another thread than the one that read (the beginning of) a request goes on with it: that one works for it no more.
/// If it made such a call as `marks` says, whose call that was is not certain.
#[inline(never)]
fn pass_on(process: *mut Process, tid: u32, tgid: u32, connection: &Connection, marks: u32) -> u32 {
    if connection.server == tid || connection.server == 0 {
        return 0;
    }
    let Some(t) = thread(connection.server, tgid) else { return 0 };
    // SAFETY: as above.
    let t = unsafe { &mut *t };
    if t.work.exchange == connection.exchange {
        if t.marks & marks != 0 {
            distrust(process, tgid);
        }
        t.work = Work::NONE;
    }
    0
}

/// The thread is about to wait for whichever of many sockets is ready: it works for nobody when it is. One that has
/// asked on behalf of a request and leaves it unanswered serves several by turns, and so do the others.
#[inline(always)]
pub fn wait(process: *mut Process, tid: u32, tgid: u32) {
    // SAFETY: as above.
    if unsafe { (*process).policy } != Policy::Thread as u32 {
        return;
    }
    if thread(tid, tgid).is_none() {
        begin(tid, tgid, Work::NONE);
    }
    let Some(t) = thread(tid, tgid) else { return };
    // SAFETY: as above.
    let t = unsafe { &mut *t };
    if t.work.exchange != 0 && t.marks & (mark::CALLED | mark::ANSWERED) == mark::CALLED {
        distrust(process, tgid);
    }
    t.work = Work::NONE;
    if t.marks & mark::WAITS == 0 {
        let many = if tid == tgid { 0 } else { names::is_loop() };
        t.marks |= mark::WAITS | (many & mark::MANY);
    }
}

/// One unanswered exchange more for this thread.
#[inline(always)]
fn take_up(t: &mut Thread) {
    let now = read::now();
    if t.open == 0 || now.wrapping_sub(t.idle) > MISCOUNTED {
        (t.open, t.shared, t.idle) = (0, 0, now);
    }
    t.open += 1;
    if t.open > 1 {
        t.shared = 1;
        count::one(Counter::SharedThread);
    }
}

/// The thread begins to answer. A process in which another thread does so than the one that read the
/// request, or one that has since taken up something else, multiplexes: threads are no evidence in it.
#[inline(always)]
pub fn answer(process: *mut Process, tid: u32, tgid: u32, connection: &mut Connection) {
    let policy = policy_of(process, tid, tgid);
    if policy == Policy::Thread as u32 && connection.owner != 0 {
        let same = connection.owner == tid && current(tid, tgid).exchange == connection.exchange;
        if !same {
            distrust(process, tgid);
        }
    }
    if task::has_moved_on(process, tid, tgid, connection) {
        distrust(process, tgid);
    }
    release(connection);
}

/// The thread goes on with an answer. One that has taken up something else in between multiplexes too. So does one that
/// made calls while another was to go on.
#[inline(always)]
pub fn go_on(process: *mut Process, tid: u32, tgid: u32, connection: &mut Connection) {
    let policy = policy_of(process, tid, tgid);
    if policy != Policy::Thread as u32 {
        return;
    }
    pass_on(process, tid, tgid, connection, mark::CALLED_LATE);
    if connection.server == tid && current(tid, tgid).exchange != connection.exchange {
        distrust(process, tgid);
    }
}

/// Threads are no evidence in this process from now on; the agent takes back what they seemed to prove.
#[inline(never)]
fn distrust(process: *mut Process, tgid: u32) -> u32 {
    // SAFETY: as above; a lost update is made up for by the next answer.
    unsafe {
        if (*process).flags & process_flag::MULTIPLEXED != 0 {
            return 0;
        }
        (*process).flags |= process_flag::MULTIPLEXED;
    }
    count::one(Counter::Multiplexed);
    emit::lifecycle(EventKind::Multiplexed, tgid, 0, 0);
    0
}

/// In what context the thread, or the `task` that it runs, makes a call now, and what says so.
#[inline(always)]
pub fn evidence(process: *mut Process, tid: u32, tgid: u32, task: u64) -> (Work, Evidence) {
    let policy = policy_of(process, tid, tgid);
    if task::goes_by_tasks(policy) {
        let mut exchange = task::current(process, tid, tgid, task);
        // A task has taken nothing.
        if exchange == 0 && task == 0 {
            exchange = taken(tid, tgid);
        }
        let evidence = if exchange == 0 { Evidence::None } else { Evidence::Task };
        return (Work { exchange, via: 0 }, evidence);
    }
    let Some(t) = thread(tid, tgid) else { return (Work::NONE, Evidence::None) };
    // SAFETY: as above.
    let t = unsafe { &mut *t };
    t.marks |= if t.marks & mark::ANSWERED == 0 { mark::CALLED } else { mark::CALLED_LATE };
    let work = believed(process, policy, t);
    if policy == Policy::Thread as u32 {
        heir::acts(handle(tgid, tid), work.exchange);
    }
    if work.exchange != 0 { (work, Evidence::Thread) } else { (Work::NONE, Evidence::None) }
}

/// What a thread works for, if that is evidence under this policy.
#[inline(always)]
fn believed(process: *mut Process, policy: u32, t: &Thread) -> Work {
    let alone = t.shared == 0 && !traced::is_multiplexed(process);
    let sound = policy == Policy::Loop as u32 || (policy == Policy::Thread as u32 && alone);
    if sound { t.work } else { Work::NONE }
}
