//! Text → raw: TOML values into plain structs, with every problem reported and none hiding another.
//!
//! Serde stops at the first error of a document, and a policy file is edited by people who want to
//! see all of them. So the tables are declared with `table!`, which derives the JSON Schema
//! (through schemars) and the decoding from the same lines; they cannot disagree.
//! Decoding checks types and the form of single values. Names that refer to something else, and
//! anything that needs two values at once, are checked when the raw policy is lowered.

mod macros;
mod node;
mod values;

pub(crate) use macros::table;
pub use macros::{ObjectSchema, plain};
pub use node::{Decode, Node, Part, TableReader, place, unknown_key};
pub(crate) use values::words;
pub use values::{FilePath, Moment, Name, OneOrMany, ProcessPath, Size, Span, bad_value, unknown_word};
