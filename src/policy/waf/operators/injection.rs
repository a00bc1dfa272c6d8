//! Detectors of injections: what `detect_sqli` and `detect_xss` have in common.
//!
//! The grammar is that of the C library libinjection, which writers of rules know; `sql` and `xss` read it.
//! (The crate `libinjectionrs`, a port of it, allocates for every word of SQL, reads long words again and
//! again, and misses event handlers and NULs in markup: only its table of words is used.) Each is behind a
//! trait, and behind a gate, a scan of the text's bytes that says where the grammar cannot find anything;
//! `tests/libinjection/run` compares what is found with the library. Should a grammar panic, the text
//! counts as an attack.

use std::panic::catch_unwind;

/// Tells attacks from other text by their grammar.
pub(super) trait Detector {
    /// Whether the grammar may find something; where not, nobody asks it.
    fn gate(text: &[u8]) -> bool;

    /// Asks the grammar.
    fn ask(text: &[u8]) -> bool;
}

/// Whether a text is an attack.
pub(super) fn detects<D: Detector>(text: &[u8]) -> bool {
    D::gate(text) && catch_unwind(|| D::ask(text)).unwrap_or(true)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Checks that the gate stops nothing that the grammar finds.
    #[track_caller]
    pub(in crate::policy::waf::operators) fn gate_holds<D: Detector>(text: &[u8]) {
        assert!(D::gate(text) || !D::ask(text), "the gate lost {}", text.escape_ascii());
    }

    /// Every text of up to `length` of these pieces.
    pub(in crate::policy::waf::operators) fn every_text(
        pieces: &[&str],
        length: u32,
        mut check: impl FnMut(&[u8]),
    ) -> usize {
        let mut texts = vec![Vec::new()];
        let mut count = 0;
        for _ in 0..length {
            texts = texts
                .iter()
                .flat_map(|text: &Vec<u8>| pieces.iter().map(move |piece| [text, piece.as_bytes()].concat()))
                .collect();
            texts.iter().for_each(|text| check(text));
            count += texts.len();
        }
        count
    }

    /// How many verdicts are attacks, and a hash of them all (FNV-1a, a byte each). What the C library says
    /// is kept so; where it is not what is found, `tests/libinjection/run` tells the texts.
    #[derive(Debug, PartialEq, Eq)]
    pub(in crate::policy::waf::operators) struct Verdicts {
        pub(in crate::policy::waf::operators) attacks: usize,
        pub(in crate::policy::waf::operators) hash: u64,
    }

    impl Verdicts {
        pub(in crate::policy::waf::operators) const NONE: Verdicts =
            Verdicts { attacks: 0, hash: 0xcbf2_9ce4_8422_2325 };

        pub(in crate::policy::waf::operators) fn with(&self, attack: bool) -> Verdicts {
            let hash = (self.hash ^ u64::from(attack)).wrapping_mul(0x0100_0000_01b3);
            Verdicts { attacks: self.attacks + usize::from(attack), hash }
        }
    }

    /// Texts of these pieces and of any bytes.
    pub(in crate::policy::waf::operators) fn texts(
        pieces: Vec<&'static str>,
    ) -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            8 => prop::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 1..4),
        ];
        prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
    }

    struct Broken;

    impl Detector for Broken {
        fn gate(text: &[u8]) -> bool {
            !text.is_empty()
        }

        fn ask(_: &[u8]) -> bool {
            panic!("as a detector that meets what nobody thought of")
        }
    }

    #[test]
    fn a_detector_that_panics_has_found_an_attack() {
        assert!(detects::<Broken>(b"x"));
        assert!(!detects::<Broken>(b""));
    }
}
