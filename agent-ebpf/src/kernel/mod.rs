//! Everything that runs in the kernel, one concern a file, in the order in which a socket call meets it:
//! [`socket`] or [`syscall`] find the call's memory, [`observe`] decides what it means, [`connection`]
//! and [`context`] remember, [`emit`] tells the agent.

mod arch;
mod connection;
mod context;
mod count;
mod emit;
mod libuv;
mod lifecycle;
mod message;
mod observe;
mod read;
mod socket;
mod syscall;
mod traced;
