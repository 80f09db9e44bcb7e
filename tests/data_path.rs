//! The data path: real sockets on loopback, a listener in this process, rustls and openssl as clients.

#[path = "data_path/answers.rs"]
mod answers;
#[path = "data_path/backends.rs"]
mod backends;
#[path = "data_path/client_hello.rs"]
mod client_hello;
#[path = "data_path/early_data.rs"]
mod early_data;
#[path = "data_path/ends.rs"]
mod ends;
#[path = "data_path/endurance.rs"]
mod endurance;
#[path = "data_path/harness.rs"]
mod harness;
#[path = "data_path/hostile.rs"]
mod hostile;
#[path = "data_path/lifecycle.rs"]
mod lifecycle;
#[path = "data_path/mutations.rs"]
mod mutations;
#[path = "data_path/services.rs"]
mod services;
#[path = "data_path/transfer.rs"]
mod transfer;
