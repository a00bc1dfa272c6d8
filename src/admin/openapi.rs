//! `/api/openapi.json`: what the API takes and answers, for people and their tools.

/// The description (OpenAPI 3.1).
pub(super) const TEXT: &[u8] = include_bytes!("openapi.json");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::admin::records::{Filter, stages};
    use crate::admin::respond::{ENDPOINTS, Need};

    #[test]
    fn the_description_has_what_the_listener_answers_and_who_may_ask() {
        let description: Value = serde_json::from_slice(TEXT).unwrap();
        let described: BTreeSet<(String, String)> = description["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().keys().map(|method| (path.clone(), method.to_uppercase()))
            })
            .collect();
        let mut answered = BTreeSet::new();
        for endpoint in ENDPOINTS {
            for (method, need) in endpoint.methods {
                answered.insert((endpoint.path.to_owned(), (*method).to_owned()));
                let operation = &description["paths"][endpoint.path][method.to_lowercase()];
                let open = operation["security"].as_array().unwrap().contains(&serde_json::json!({}));
                assert_eq!(open, *need != Need::Change, "{method} {}", endpoint.path);
                let busy = &operation["responses"]["503"]["content"]["application/problem+json"];
                assert_eq!(busy.is_object(), *need == Need::Reading, "{method} {}", endpoint.path);
            }
        }
        assert_eq!(described, answered);
    }

    #[test]
    fn the_words_of_filters_are_those_that_are_taken() {
        let description: Value = serde_json::from_slice(TEXT).unwrap();
        let parameters = description["paths"]["/api/decisions"]["get"]["parameters"].as_array().unwrap();
        let schema = |name: &str| {
            let found = parameters.iter().find(|parameter| parameter["name"] == name).unwrap();
            &found["schema"]["items"]
        };
        assert_eq!(schema("stage")["enum"], serde_json::json!(stages()));
        assert_eq!(schema("rule")["pattern"], format!("^({})/.+$", stages().join("|")));
        for word in schema("decision")["enum"].as_array().unwrap() {
            assert!(Filter::parse(&format!("decision={}", word.as_str().unwrap())).is_ok());
        }
    }
}
