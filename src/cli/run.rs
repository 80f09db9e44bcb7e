//! `certgate run`, `check` and `schema`: the service, and the file it is run with.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use super::environment;
use super::log::Log;
use super::open_files;
use super::output::Printed;
use crate::cause::with_causes;
use crate::config::{self, Config, Diagnostics, Files, Loaded, LogConfig, RuntimeChanges, StoreConfig};
use crate::gateway::{Gateway, GatewayError};

pub(super) fn run(path: &Path) -> Result<ExitCode, Failure> {
    // Paths in the log and in the status are read by people who stand elsewhere.
    let path = &std::path::absolute(path)?;
    let files = environment::with(|environment| Files::read(path, environment))?;
    let (store, log) = foundation(&files)?;
    let _log = Log::start(&log)?;
    open_files::raise_limit();
    let runtime = control_runtime()?;
    let served = runtime.block_on(serve(files, &store, path));
    // A look-up in a resolver that does not answer is waited for no longer than this.
    runtime.shutdown_timeout(LAST_WAIT);
    // Whoever reads the log of a service is told there, in the log's own form.
    served.or_else(|error| {
        if let Some(GatewayError::Configuration(problems)) = error.downcast_ref() {
            return Err(problems.clone().into());
        }
        tracing::error!("the gateway cannot run: {}", with_causes(&*error));
        Ok(ExitCode::FAILURE)
    })
}

/// What is needed to start. Files that are not valid alone may be valid with what was changed at run time; then there
/// is a store already.
fn foundation(files: &Files) -> Result<(StoreConfig, LogConfig), Failure> {
    let found = environment::with(|environment| files.foundation(environment));
    if let Some(found) = found.filter(|(store, _)| store.path.is_dir()) {
        return Ok(found);
    }
    let loaded = meaning(files, &RuntimeChanges::new(), &BTreeSet::new())?;
    Ok((loaded.config.store, loaded.config.log))
}

/// What files mean in the environment of this process; see [`Files::check`].
pub(super) fn meaning(
    files: &Files,
    changes: &RuntimeChanges,
    settled_bundles: &BTreeSet<String>,
) -> Result<Loaded, Diagnostics> {
    environment::with(|environment| files.check(changes, settled_bundles, environment))
}

pub(super) fn check(path: &Path) -> Result<ExitCode, Failure> {
    let config = load(path)?;
    let parts = [
        (config.listeners.len(), "listener", "listeners"),
        (
            config.certificates.len() + config.certificate_files.len(),
            "certificate",
            "certificates",
        ),
        (
            config.certificate_directories.len(),
            "certificate directory",
            "certificate directories",
        ),
        (config.server_groups.len(), "server group", "server groups"),
    ];
    let parts = parts.map(|(number, one, many)| format!("{number} {}", if number == 1 { one } else { many }));
    Printed::text(format!("{}: valid; {}\n", path.display(), parts.join(", ")))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn schema() -> Result<ExitCode, Failure> {
    Printed::json(&config::json_schema())?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a configuration and prints its warnings; every problem is in the error.
pub(super) fn load(path: &Path) -> Result<Config, Failure> {
    let loaded = environment::with(|environment| config::load(path, environment))?;
    if !loaded.warnings.is_empty() {
        let warnings = loaded.warnings.render(io::stderr().is_terminal());
        writeln!(io::stderr(), "{warnings}\n")?;
    }
    Ok(loaded.config)
}

/// The threads of the control plane; the data plane has its own.
pub(super) fn control_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("certgate-control")
        .enable_all()
        .build()
}

async fn serve(files: Files, store: &StoreConfig, path: &Path) -> Result<ExitCode, Failure> {
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let gateway = tokio::select! {
        started = Gateway::start(files, store, Arc::new(meaning)) => started?,
        _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
        _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
    };
    loop {
        tokio::select! {
            _ = hang_up.recv() => {}
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
        // The end need not wait for a reload that does.
        tokio::select! {
            () = gateway.reload(|| read(path)) => {}
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    // A second signal ends the wait for open connections.
    tokio::select! {
        () = gateway.drain() => {}
        _ = terminate.recv() => tracing::warn!("a second signal: open connections are cut"),
        _ = interrupt.recv() => tracing::warn!("a second signal: open connections are cut"),
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<Files, String> {
    environment::with(|environment| Files::read(path, environment)).map_err(|problems| problems.to_string())
}

const LAST_WAIT: Duration = Duration::from_secs(5);
