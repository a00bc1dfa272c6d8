//! The words of SQL and the fingerprints of attacks, in tables that are asked without an allocation.

use std::sync::LazyLock;

use libinjectionrs::sqli::sqli_data::SQL_KEYWORDS;

use super::token::Kind;

/// Both tables, read once a process.
pub(super) static WORDS: LazyLock<Words> = LazyLock::new(Words::new);

/// No word is longer.
pub(super) const LONGEST: usize = 29;

pub(super) struct Words {
    words: Vec<(&'static str, Kind)>,
    /// By hash of a word: one more than its place above, or 0. Taken places push on to the next.
    slots: Box<[u16]>,
    /// By hash of a fingerprint: its letters as a number, or 0.
    attacks: Box<[u64]>,
}

const SLOTS: usize = 1 << 12;
const ATTACKS: usize = 1 << 15;

impl Words {
    fn new() -> Words {
        let mut new =
            Words { words: Vec::new(), slots: vec![0; SLOTS].into(), attacks: vec![0; ATTACKS].into() };
        for entry in SQL_KEYWORDS {
            match Kind::of_letter(entry.token_type) {
                Some(kind) if entry.word.len() <= LONGEST => new.add_word(entry.word, kind),
                Some(_) => {}
                None if entry.token_type == b'F' => new.add_attack(entry.word),
                None => {}
            }
        }
        new
    }

    fn add_word(&mut self, word: &'static str, kind: Kind) {
        let mut at = hash(word.as_bytes());
        while self.slots[at % SLOTS] != 0 {
            at += 1;
        }
        self.words.push((word, kind));
        self.slots[at % SLOTS] = u16::try_from(self.words.len()).unwrap_or_default();
    }

    /// `word` is a 0 and the fingerprint in capitals.
    fn add_attack(&mut self, word: &str) {
        let Some(letters) = number(word.as_bytes().get(1..).unwrap_or_default()) else { return };
        let mut at = spread(letters);
        while self.attacks[at % ATTACKS] != 0 {
            at += 1;
        }
        self.attacks[at % ATTACKS] = letters;
    }

    /// What a word is; one that is not known is a bare word.
    pub(super) fn kind(&self, word: &[u8]) -> Kind {
        self.known(word).unwrap_or(Kind::Bareword)
    }

    /// What a word is in the table, where some are bare words: the beginnings of longer ones (`IS DISTINCT`
    /// of `IS DISTINCT FROM`).
    pub(super) fn known(&self, word: &[u8]) -> Option<Kind> {
        if word.len() > LONGEST {
            return None;
        }
        let mut at = hash(word);
        loop {
            match self.slots[at % SLOTS] {
                0 => return None,
                slot => {
                    let (known, kind) = self.words[usize::from(slot) - 1];
                    if known.as_bytes().eq_ignore_ascii_case(word) {
                        return Some(kind);
                    }
                }
            }
            at += 1;
        }
    }

    /// Whether attacks have this fingerprint.
    pub(super) fn is_attack(&self, fingerprint: &[u8]) -> bool {
        let Some(letters) = number(fingerprint) else { return false };
        let mut at = spread(letters);
        loop {
            match self.attacks[at % ATTACKS] {
                0 => return false,
                known if known == letters => return true,
                _ => at += 1,
            }
        }
    }
}

/// The letters of a fingerprint, in capitals, as a number; none for what is no fingerprint.
fn number(fingerprint: &[u8]) -> Option<u64> {
    let fits = (1..=8).contains(&fingerprint.len());
    fits.then(|| fingerprint.iter().fold(0, |all, byte| all << 8 | u64::from(byte.to_ascii_uppercase())))
}

fn hash(word: &[u8]) -> usize {
    let hash = |all: u32, byte: &u8| (all ^ u32::from(byte.to_ascii_uppercase())).wrapping_mul(0x0100_0193);
    let all = word.iter().fold(0x811c_9dc5, hash);
    (all ^ (all >> 15)) as usize
}

fn spread(number: u64) -> usize {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize
}
