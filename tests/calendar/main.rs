//! Years of a large fleet, lived through by the scheduler's own decisions against a CA that holds its limits.

mod around_a_third;
mod ca;
mod first_issue;
mod fleet;
mod one_ca;
mod passed_over;
mod spares;
mod two_years;
mod warned;
