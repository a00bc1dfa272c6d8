//! The texts of policies: one compressed file for each text, named by its SHA-256, so that a text which
//! many generations share is kept once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::entry::StoredFile;
use super::log::replace;
use crate::policy::source::Sources;

/// The folder of the texts.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    folder: PathBuf,
}

/// No text that the loader reads is larger.
const LARGEST: u64 = 256 << 20;

impl Texts {
    /// Those of a state folder.
    pub(super) fn at(folder: &Path) -> Texts {
        Texts { folder: folder.join("texts") }
    }

    /// Makes the folder.
    pub(super) fn make(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)
    }

    /// Keeps a text; its name. One that is kept already is written again only where the disk has
    /// damaged it, so that a store mends itself when the text comes along again.
    pub(super) fn keep(&self, text: &str) -> io::Result<String> {
        let name = name_of(text);
        let path = self.folder.join(&name);
        if !holds(&path, text) {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text.as_bytes())?;
            replace(&path, &encoder.finish()?)?;
        }
        Ok(name)
    }

    /// Whether there is a text of this name, damaged or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.folder.join(name).exists()
    }

    /// Gives up one.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.folder.join(name))
    }

    /// The text of a name.
    pub(super) fn get(&self, name: &str) -> io::Result<String> {
        let mut text = String::new();
        let file = fs::File::open(self.folder.join(name))?;
        GzDecoder::new(file).take(LARGEST + 1).read_to_string(&mut text)?;
        match name_of(&text) == name {
            true => Ok(text),
            false => Err(io::Error::new(ErrorKind::InvalidData, format!("the text `{name}` is damaged"))),
        }
    }

    /// Named texts as the sources of a policy.
    pub(super) fn sources(&self, files: &[StoredFile]) -> io::Result<Sources> {
        let mut sources = Sources::default();
        for file in files.iter().filter(|file| !file.list) {
            sources.add_policy(file.name.clone(), self.get(&file.text)?);
        }
        for file in files.iter().filter(|file| file.list) {
            sources.attach(file.name.clone(), self.get(&file.text)?);
        }
        Ok(sources)
    }

    /// The texts that are kept, with their sizes on the disk.
    pub(super) fn sizes(&self) -> io::Result<BTreeMap<String, u64>> {
        let mut sizes = BTreeMap::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            sizes.insert(entry.file_name().to_string_lossy().into_owned(), entry.metadata()?.len());
        }
        Ok(sizes)
    }

    /// Gives up all but these.
    pub(super) fn retain(&self, wanted: &BTreeSet<&str>) -> io::Result<()> {
        for name in self.sizes()?.keys().filter(|name| !wanted.contains(name.as_str())) {
            fs::remove_file(self.folder.join(name))?;
        }
        Ok(())
    }
}

/// Whether a file is there and gives this very text. Read piece by piece, without a copy of the whole.
fn holds(path: &Path, text: &str) -> bool {
    let Ok(file) = fs::File::open(path) else { return false };
    let (mut decoder, mut left) = (GzDecoder::new(file), text.as_bytes());
    let mut piece = [0; 16 * 1024];
    loop {
        match decoder.read(&mut piece) {
            Ok(0) => return left.is_empty(),
            Ok(read) => match piece.get(..read).and_then(|piece| left.strip_prefix(piece)) {
                Some(rest) => left = rest,
                None => return false,
            },
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

/// The name of a text.
pub(super) fn name_of(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
