//! The renewal loop against a store, a clock that is set by hand and a CA that does as it is told.

mod failing;
mod obtaining;
mod sharing;
mod world;
