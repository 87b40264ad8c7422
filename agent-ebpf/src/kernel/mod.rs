//! Everything that runs in the kernel, one concern a file, in the order in which a socket call meets it:
//! [`socket`] or [`syscall`] find the [`call`]'s memory, [`recognise`] and [`observe`] decide what it means, [`connection`]
//! and [`context`] remember, [`report`] and [`emit`] tell the agent.

mod arch;
mod aside;
mod asyncio;
mod call;
mod connection;
mod context;
mod count;
mod emit;
mod goroutine;
mod greenlet;
mod heir;
mod interpreter;
mod libuv;
mod lifecycle;
mod message;
mod names;
mod observe;
mod pool;
mod probe;
mod read;
mod recognise;
mod report;
mod socket;
mod syscall;
mod task;
mod traced;
mod wait;
