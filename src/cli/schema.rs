//! `schema`: the JSON Schema of configuration files, for editors and other checkers.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::reply::{Exit, Reply};
use crate::config::raw;

/// Print the JSON Schema of the configuration (draft 2020-12).
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: portcullis schema > portcullis.schema.json

Editors find it through the first line of a file:
  #:schema ./portcullis.schema.json")]
pub(super) struct Args {
    /// The schema of included files instead of the main one.
    #[arg(long)]
    included: bool,
}

/// Prints a schema.
pub(super) fn schema(args: &Args) -> Reply {
    Reply::json(Exit::Fine, &if args.included { included() } else { main_file() })
}

/// The schema of a main file.
fn main_file() -> Value {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<raw::Root>();
    titled("portcullis configuration", schema)
}

/// The schema of an included file.
fn included() -> Value {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<raw::Included>();
    titled("portcullis included file", schema)
}

fn titled(title: &str, mut schema: schemars::Schema) -> Value {
    schema.insert("title".to_owned(), title.into());
    schema.to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reference leads somewhere, and every property has words for the editor to show.
    fn check(schema: &Value) {
        let mut open = vec![schema];
        while let Some(value) = open.pop() {
            match value {
                Value::Object(object) => {
                    if let Some(target) = object.get("$ref").and_then(Value::as_str) {
                        let pointer = target.strip_prefix('#').expect("a reference within the schema");
                        assert!(schema.pointer(pointer).is_some(), "{target} leads nowhere");
                    }
                    if let Some(Value::Object(properties)) = object.get("properties") {
                        for (key, property) in properties {
                            let words = property["description"].as_str().unwrap_or_default();
                            assert!(!words.is_empty(), "`{key}` has no description");
                        }
                    }
                    open.extend(object.values());
                }
                Value::Array(items) => open.extend(items),
                _ => {}
            }
        }
    }

    #[test]
    fn schemas_are_whole_and_described() {
        check(&main_file());
        check(&included());
    }

    #[test]
    fn the_main_file_demands_its_version_and_knows_no_other_keys() {
        let schema = main_file();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["required"], serde_json::json!(["version"]));
        assert_eq!(schema["additionalProperties"], false);
        assert!(schema["properties"]["server"].is_object() && schema["properties"]["rbac"].is_object());
        assert!(included()["properties"].get("server").is_none());
    }
}
