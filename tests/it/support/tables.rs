//! The decision tables of `tests/cases`, with the policies they are about.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use portcullis::cli::test::cases::{Case, CaseFile};
use portcullis::config::{Setup, load};
use portcullis::policy::diagnostic::Diagnostics;
use portcullis::policy::source::Sources;

/// One file of cases.
pub struct Table {
    /// The configuration it is about.
    pub config: PathBuf,
    /// Its cases.
    pub cases: Vec<Case>,
}

/// Where the tables are.
pub fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases"))
}

/// Every table, by name.
pub fn tables() -> Vec<Table> {
    let entries = fs::read_dir(folder()).expect("the tables");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Table {
    let name = path.to_string_lossy().into_owned();
    let text = fs::read_to_string(path).expect("readable");
    let mut diagnostics = Diagnostics::default();
    let file = CaseFile::read(&Sources::single(name.as_str(), text), &mut diagnostics);
    let file = file.unwrap_or_else(|| panic!("{name}: {diagnostics:?}"));
    let config = file.config.unwrap_or_else(|| panic!("{name} names no configuration"));
    Table { config: PathBuf::from(&*config), cases: file.cases }
}

/// Loads a configuration that must be good.
pub fn setup(path: &Path) -> Setup {
    let (outcome, _) = load::load(path, Timestamp::now());
    outcome.setup.unwrap_or_else(|| panic!("{}: {:?}", path.display(), outcome.diagnostics))
}
