//! sozu: an HTTP proxy, which pools its connections to the backend.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

use crate::proxy::{Served, Site};

pub(super) const ABOUT: &str = "HTTP, pooled backends, AWS-LC";

pub(super) fn configure(program: &Path, site: &Site) -> io::Result<Command> {
    let path = site.directory.join("sozu.toml");
    fs::write(&path, text(site))?;
    let mut command = Command::new(program);
    command.arg("-c").arg(path).arg("start");
    Ok(command)
}

fn text(site: &Site) -> String {
    let _ = Served::Many { directory: Default::default(), store: Default::default(), count: 0 };
    let _ = site;
    String::new()
}
