//! The program as its users run it: the real binary, real sockets, real servers around it.

mod gateway;
mod peer;
