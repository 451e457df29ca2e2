//! The JSON Schema of documents of rules, for editors.

use crate::Documents;

/// The schema of [`Documents`], as `docs/formats/rules.schema.json` has it.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Documents);
    schema.insert("title".to_owned(), "Fieldline rules".into());
    schema.to_value()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_schema_in_the_documents_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/formats/rules.schema.json");
        let wanted = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        if std::env::var_os("FIELDLINE_WRITE_SCHEMA").is_some() {
            std::fs::write(&path, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == wanted,
            "write it with: FIELDLINE_WRITE_SCHEMA=1 cargo test -p fieldline-rules schema"
        );
    }

    #[test]
    fn the_schema_knows_the_keys_of_a_rule() {
        let schema = schema();
        let keys = schema.pointer("/$defs/Rule/properties").and_then(serde_json::Value::as_object).unwrap();
        for key in ["name", "when", "for", "unless_firing", "then", "schedule"] {
            assert!(keys.contains_key(key), "{key}");
        }
        assert_eq!(schema.pointer("/$defs/Rule/additionalProperties"), Some(&false.into()));
    }
}
