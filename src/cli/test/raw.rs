//! Case files as written.

use std::borrow::Cow;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};
use toml::de::DeValue;

use crate::policy::decode::{Decode, Moment, Node, OneOrMany, bad_value, table, words};
use crate::policy::diagnostic::{At, Diagnostics};

table! {
    /// A file of cases for `portcullis test`.
    pub struct RawFile as "a case file" {
        /// The configuration that is tested, relative to this file; `--config` when absent.
        opt config: At<String>,
        /// The time of all cases that have none of their own; when absent, the time of the test.
        opt now: Moment,
        /// The cases.
        list case: RawCase,
    }
}

table! {
    /// `[[case]]`: a request, and what must become of it.
    pub struct RawCase as "[[case]]" {
        /// What the case shows.
        req name: At<String>,
        /// The request.
        req request: RawRequest,
        /// Who asks, taken as verified; when absent, whoever the header fields show.
        opt identity: RawIdentity,
        /// The time of the request.
        opt at: Moment,
        /// What must become of it.
        req expect: RawExpect,
        /// Rules that must neither decide, nor match, nor be hit in shadow.
        list not_rules: At<String>,
    }
}

words! {
    /// Versions of HTTP.
    pub enum VersionWord {
        /// HTTP/1.0
        Http10 = "1.0",
        /// HTTP/1.1
        Http11 = "1.1",
        /// HTTP/2
        Http2 = "2",
    }
}

table! {
    /// The request of a case.
    pub struct RawRequest as "request" {
        /// The method; GET when absent, POST when there is a body.
        opt method: At<String>,
        /// The request target as sent: path and query, or a whole URL for the absolute form.
        req path: At<String>,
        /// The Host field; `localhost` when absent.
        opt host: At<String>,
        /// The client's address; 127.0.0.1 when absent.
        opt ip: At<String>,
        /// The other end of the connection, when it is a proxy that names `ip` as its client.
        opt peer: At<String>,
        /// The other header fields; a list means that the field is repeated.
        map headers: OneOrMany<At<String>>,
        /// The body.
        opt body: At<String>,
        /// The body in Base64, for bytes that are not text.
        opt body_base64: At<String>,
        /// The Content-Type field.
        opt content_type: At<String>,
        /// The version of HTTP; `1.1` when absent.
        opt version: VersionWord,
        /// Whether the connection is encrypted.
        opt https: bool,
        /// The certificate that the client showed, taken as verified; the connection is then encrypted.
        opt certificate: RawCertificate,
    }
}

table! {
    /// What the certificate of a client says.
    pub struct RawCertificate as "certificate" {
        /// URIs of the Subject Alternative Name.
        opt uri: OneOrMany<At<String>>,
        /// DNS names of it.
        opt dns: OneOrMany<At<String>>,
        /// Mail addresses of it.
        opt email: OneOrMany<At<String>>,
        /// The common name of its subject.
        opt cn: OneOrMany<At<String>>,
        /// The organizational units of its subject.
        opt ou: OneOrMany<At<String>>,
        /// The common name of the authority that issued it.
        opt issuer: OneOrMany<At<String>>,
        /// `sha256:` and its digest.
        opt fingerprint: At<String>,
    }
}

table! {
    /// Who asks in a case, taken as verified.
    pub struct RawIdentity as "identity" {
        /// The subject.
        req subject: String,
        /// The roles that the credential brings.
        list roles: String,
        /// The scopes that the credential brings.
        list scopes: String,
        /// The claims; `sub` is the subject unless given.
        opt claims: Claims,
    }
}

words! {
    /// What becomes of a request.
    pub enum OutcomeWord {
        /// It may pass.
        Allow = "allow",
        /// It is refused.
        Deny = "deny",
    }
}

words! {
    /// The gates, as cases name them.
    pub enum GateWord {
        /// Is it intelligible?
        Intake = "intake",
        /// Addresses.
        Ip = "ip",
        /// Routes.
        Route = "route",
        /// WAF rules, head or body.
        Waf = "waf",
        /// Credentials.
        Authn = "authn",
        /// Roles.
        Rbac = "rbac",
    }
}

table! {
    /// What must become of the request of a case. What is not mentioned is not compared.
    pub struct RawExpect as "expect" {
        /// Allowed or refused.
        opt outcome: At<OutcomeWord>,
        /// The deciding rule.
        opt rule: At<String>,
        /// The gate that refuses.
        opt stage: At<GateWord>,
        /// The reason of the refusal.
        opt reason: At<String>,
        /// The status of the refusal as it was judged, whatever the caller is told; or of the gateway's own answer.
        opt status: At<u16>,
        /// The status that the caller sees of it: 404 where `[[disclosure]]` makes it `silent`.
        opt sent_status: At<u16>,
        /// The route that serves the request.
        opt route: At<String>,
        /// WAF rules that must match, enforced or in shadow.
        list matched: At<String>,
        /// WAF rules that must not match.
        list not_matched: At<String>,
        /// Rules in shadow that must be hit.
        list shadow: At<String>,
        /// What the nearest grant needs.
        opt needs: RawNeeds,
    }
}

table! {
    /// What the nearest grant needs.
    pub struct RawNeeds as "needs" {
        /// Any of these roles.
        list roles: At<String>,
        /// All of these scopes.
        list scopes: At<String>,
    }
}

/// The claims of a token: any TOML value, as JSON would have it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims(pub Map<String, Value>);

impl Decode for Claims {
    fn decode(node: Node<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let DeValue::Table(_) = node.value() else {
            node.wrong_type("a table", diagnostics);
            return None;
        };
        match json(node.value()) {
            Some(Value::Object(claims)) => Some(Claims(claims)),
            _ => {
                bad_value(node, "a claim is a number that JSON cannot hold", "", diagnostics);
                None
            }
        }
    }
}

fn json(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok()?.into(),
        DeValue::Float(number) => serde_json::Number::from_f64(number.as_str().parse().ok()?)?.into(),
        DeValue::Boolean(value) => (*value).into(),
        // Tokens hold times as seconds (RFC 7519 section 2).
        DeValue::Datetime(time) => time.to_string().parse::<Timestamp>().ok()?.as_second().into(),
        DeValue::Array(items) => {
            items.iter().map(|item| json(item.get_ref())).collect::<Option<Vec<_>>>()?.into()
        }
        DeValue::Table(table) => {
            let entries =
                table.iter().map(|(key, value)| Some((key.get_ref().to_string(), json(value.get_ref())?)));
            Value::Object(entries.collect::<Option<_>>()?)
        }
    })
}

impl JsonSchema for Claims {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Claims".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}
