//! `table!`: one declaration of a TOML table for decoding and for the JSON Schema.

/// Declares the struct of a TOML table, how it is read, and its JSON Schema.
///
/// ```text
/// table! {
///     /// `[[ip.rule]]`: …
///     pub struct Rule as "[[ip.rule]]" {
///         /// …
///         req id: At<Name>,          // must be there
///         opt allow: Vec<At<Name>>,  // Option<…>
///         list deny: At<Name>,       // Vec<…>, empty when absent
///         map role: Role,            // Vec<(At<String>, …)>, empty when absent
///         part scope: Scope,         // the keys of another table, standing in this one
///     }
/// }
/// ```
///
/// A key whose value is wrong counts as absent, or as what a wrong value of its type stands for, so
/// that what else is wrong is found in the same run. Only a `req` key without such a value loses the
/// whole table. Either way the problem is reported, and keeps the configuration from being used;
/// what only follows from it is not reported (see `Diagnostics::push_unless_lost`).
///
/// A key that is a Rust keyword is written `r#match`. The struct also gets `place`, where it stands.
macro_rules! table {
    (
        $(#[doc = $table_doc:literal])+
        $vis:vis struct $name:ident as $what:literal {
            $( $(#[doc = $doc:literal])+ $kind:ident $field:ident : $ty:ty ),* $(,)?
        }
    ) => {
        $(#[doc = $table_doc])+
        #[derive(Clone, Debug)]
        $vis struct $name {
            /// Where the table stands.
            pub place: $crate::policy::diagnostic::Place,
            $(
                $(#[doc = $doc])+
                pub $field: $crate::policy::decode::table!(@type $kind $ty),
            )*
        }

        impl $crate::policy::decode::Part for $name {
            #[allow(unused_variables, reason = "a table may have no keys")]
            fn read(
                reader: &mut $crate::policy::decode::TableReader<'_>,
                diagnostics: &mut $crate::policy::diagnostic::Diagnostics,
            ) -> Option<Self> {
                $(
                    let $field = $crate::policy::decode::table!(@read $kind $ty, reader diagnostics $field);
                )*
                let place = reader.place();
                Some(Self { place, $($field: $crate::policy::decode::table!(@take $kind $field),)* })
            }

            #[allow(unused_variables, reason = "a table may have no keys")]
            fn describe(
                object: &mut $crate::policy::decode::ObjectSchema,
                generator: &mut schemars::SchemaGenerator,
            ) {
                $(
                    $crate::policy::decode::table!(@describe $kind $ty, object generator $field [$($doc),+]);
                )*
            }
        }

        impl $crate::policy::decode::Decode for $name {
            fn decode(
                node: $crate::policy::decode::Node<'_>,
                diagnostics: &mut $crate::policy::diagnostic::Diagnostics,
            ) -> Option<Self> {
                const KEYS: &[(&str, &str)] = &[$((stringify!($kind), stringify!($field))),*];
                let mut reader = node.table_of($what, KEYS, diagnostics)?;
                let table = <Self as $crate::policy::decode::Part>::read(&mut reader, diagnostics);
                reader.finish(diagnostics);
                table
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                concat!(module_path!(), "::", stringify!($name)).replace("portcullis::", "").replace("::", ".").into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut object = $crate::policy::decode::ObjectSchema::new(&[$($table_doc),+]);
                <Self as $crate::policy::decode::Part>::describe(&mut object, generator);
                object.finish()
            }
        }
    };

    (@take req $field:ident) => { $field? };
    (@take opt $field:ident) => { $field };
    (@take part $field:ident) => { $field? };
    (@take $many:ident $field:ident) => { $field.unwrap_or_default() };

    (@type req $ty:ty) => { $ty };
    (@type opt $ty:ty) => { Option<$ty> };
    (@type list $ty:ty) => { Vec<$ty> };
    (@type map $ty:ty) => { Vec<($crate::policy::diagnostic::At<String>, $ty)> };
    (@type part $ty:ty) => { $ty };

    (@describe part $ty:ty, $object:ident $generator:ident $field:ident [$($doc:literal),+]) => {
        <$ty as $crate::policy::decode::Part>::describe($object, $generator)
    };
    (@describe $kind:ident $ty:ty, $object:ident $generator:ident $field:ident [$($doc:literal),+]) => {
        $object.property(
            $crate::policy::decode::plain(stringify!($field)),
            &[$($doc),+],
            $crate::policy::decode::table!(@schema $kind $ty, $generator),
            $crate::policy::decode::table!(@must $kind),
        )
    };

    (@schema req $ty:ty, $generator:ident) => { $generator.subschema_for::<$ty>() };
    (@schema opt $ty:ty, $generator:ident) => { $generator.subschema_for::<$ty>() };
    (@schema list $ty:ty, $generator:ident) => { $generator.subschema_for::<Vec<$ty>>() };
    (@schema map $ty:ty, $generator:ident) => {
        $generator.subschema_for::<std::collections::BTreeMap<String, $ty>>()
    };

    (@must req) => { true };
    (@must $other:ident) => { false };

    (@read part $ty:ty, $reader:ident $diagnostics:ident $field:ident) => {
        <$ty as $crate::policy::decode::Part>::read($reader, $diagnostics)
    };
    (@read req $ty:ty, $reader:ident $diagnostics:ident $field:ident) => {
        $reader.required($crate::policy::decode::plain(stringify!($field)), $diagnostics)
    };
    (@read opt $ty:ty, $reader:ident $diagnostics:ident $field:ident) => {
        $reader.optional($crate::policy::decode::plain(stringify!($field)), $diagnostics)
    };
    (@read $many:ident $ty:ty, $reader:ident $diagnostics:ident $field:ident) => {
        $reader.optional($crate::policy::decode::plain(stringify!($field)), $diagnostics)
    };
}

pub(crate) use table;

/// The key of a field: its name without the `r#` of a keyword.
pub const fn plain(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// The schema of a table, put together property by property.
#[derive(Debug)]
pub struct ObjectSchema {
    description: String,
    properties: serde_json::Map<String, serde_json::Value>,
    required: Vec<&'static str>,
}

impl ObjectSchema {
    /// A table with this documentation.
    pub fn new(doc: &[&str]) -> ObjectSchema {
        ObjectSchema { description: join(doc), properties: serde_json::Map::new(), required: Vec::new() }
    }

    /// Adds a key.
    pub fn property(&mut self, key: &'static str, doc: &[&str], schema: schemars::Schema, required: bool) {
        let mut value = schema.to_value();
        if let Some(object) = value.as_object_mut() {
            object.insert("description".to_owned(), join(doc).into());
        }
        self.properties.insert(key.to_owned(), value);
        if required {
            self.required.push(key);
        }
    }

    /// The schema.
    pub fn finish(self) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "description": self.description,
            "properties": self.properties,
            "required": self.required,
            "additionalProperties": false,
        })
    }
}

fn join(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").trim().to_owned()
}
