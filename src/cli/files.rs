//! Where verbs find the configuration and what else they read.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Common;
use super::diagnostics;
use super::layout::{list, printable};
use super::progress::Teller;
use super::reply::{Exit, Reply};
use crate::config::files::Inputs;
use crate::config::load;
use crate::config::{Outcome, Setup};

/// The largest body, token or key that is read.
const MAX_INPUT: u64 = 16 << 20;

/// The configuration file: the one that was named, else the first that exists.
pub(super) fn config_path(common: &Common) -> Result<PathBuf, Reply> {
    if let Some(path) = common.config.as_ref().filter(|path| !path.as_os_str().is_empty()) {
        return Ok(path.clone());
    }
    let candidates = candidates(|name| std::env::var_os(name));
    if let Some(found) = candidates.iter().find(|path| path.is_file()) {
        return Ok(found.clone());
    }
    let looked: Vec<String> =
        candidates.iter().map(|path| printable(&path.to_string_lossy()).into_owned()).collect();
    let why = format!(
        "there is no configuration: looked for {}\nname one with `--config`, or write one with `portcullis init`",
        list(&looked, " and ")
    );
    Err(Reply::failure(Exit::Config, why))
}

/// Where a configuration may be, in order, when none is named.
fn candidates(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let folder = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // The XDG specification has relative paths ignored.
    let xdg = folder("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let xdg = xdg.or_else(|| folder("HOME").map(|home| home.join(".config")));
    let mut paths = vec![PathBuf::from("portcullis.toml")];
    paths.extend(xdg.map(|folder| folder.join("portcullis/portcullis.toml")));
    paths.push(PathBuf::from("/etc/portcullis/portcullis.toml"));
    paths
}

/// Loads the configuration, usable or not.
pub(super) fn load(common: &Common) -> Result<Outcome, Reply> {
    config_path(common).map(|path| load_at(&path, common).0)
}

/// Loads the configuration in a file; how far that is, is told where it takes long.
pub(super) fn load_at(path: &Path, common: &Common) -> (Outcome, Inputs) {
    let mut teller = Teller::new(common);
    load::load_telling(path, Timestamp::now(), &mut |step| teller.loads(step))
}

/// Loads the configuration in a file for use, without a look at what is merely suspicious.
pub(super) fn load_to_use(path: &Path, common: &Common) -> Outcome {
    let mut teller = Teller::new(common);
    load::load_to_use(path, Timestamp::now(), &mut |step| teller.loads(step))
}

/// Loads the configuration and tells what is wrong with it if it cannot be used.
pub(super) fn usable(common: &Common) -> Result<Setup, Reply> {
    let mut outcome = config_path(common).map(|path| load_to_use(&path, common))?;
    let setup = outcome.setup.take();
    setup.ok_or_else(|| Reply::text(Exit::Config, "").with_err(diagnostics::text(&outcome, common)))
}

/// Reads a file, or standard input for `-`.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let fail = |error: io::Error| format!("`{}` cannot be read: {error}", printable(&path.to_string_lossy()));
    let mut bytes = Vec::new();
    if is_stdin(path) {
        io::stdin().lock().take(MAX_INPUT + 1).read_to_end(&mut bytes).map_err(fail)?;
    } else {
        File::open(path).map_err(fail)?.take(MAX_INPUT + 1).read_to_end(&mut bytes).map_err(fail)?;
    }
    if bytes.len() as u64 > MAX_INPUT {
        return Err(fail(io::Error::other(format!("it is larger than {}", bytesize::ByteSize(MAX_INPUT)))));
    }
    Ok(bytes)
}

/// Reads a secret: a file or standard input, without the line break at its end.
pub(super) fn read_secret(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = read(path)?;
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    if bytes.is_empty() {
        return Err(format!("`{}` is empty", printable(&path.to_string_lossy())));
    }
    Ok(bytes)
}

/// Whether a path means standard input.
pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], want: &[&str]) {
        let found = candidates(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        });
        assert_eq!(found, want.iter().map(PathBuf::from).collect::<Vec<_>>());
    }

    #[test]
    fn the_configuration_is_looked_for_from_near_to_far() {
        let (here, etc) = ("portcullis.toml", "/etc/portcullis/portcullis.toml");
        check(&[], &[here, etc]);
        check(&[("HOME", "/h")], &[here, "/h/.config/portcullis/portcullis.toml", etc]);
        check(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")], &[here, "/x/portcullis/portcullis.toml", etc]);
        check(&[("XDG_CONFIG_HOME", "relative")], &[here, etc]);
        check(&[("HOME", "")], &[here, etc]);
    }
}
