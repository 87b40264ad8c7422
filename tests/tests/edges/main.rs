//! The edges of HTTP/1 on real sockets: what is told of each, to the attribute, or which counter says what was missed.
//!
//! In: pairs of actors, whose every call is chosen and has returned before the next is made. Out: the spans of both
//! ends, each with status, sizes, parent and the moments between which it began and ended. What other tests hold
//! already is not here: sizes of bodies by every call, and that a large one costs few events (`capture`); a server that
//! leaves or resets instead of answering (`fidelity`); what cannot be read at all (`capture`).

mod bodies;
mod cuts;
mod ends;
mod heads;
mod order;
mod others;
mod processes;
mod sockets;
mod told;
mod watched;
