//! JSON in the layout of the original's answers.

use serde_json::Value;

/// A JSON object laid out as JsonCpp's `StyledWriter` does, which sorts the keys. So the answers
/// are those of the original byte for byte, should a client look for more than JSON in them.
pub fn to_styled_string(members: &[(&str, Value)]) -> String {
    debug_assert!(members.is_sorted_by_key(|(key, _)| *key));
    let lines: Vec<_> =
        members.iter().map(|(key, value)| format!("   \"{key}\" : {value}")).collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_that_of_the_original() {
        let members = [("a", Value::from(1)), ("b", "没有\"\n".into())];
        assert_eq!(to_styled_string(&members), "{\n   \"a\" : 1,\n   \"b\" : \"没有\\\"\\n\"\n}\n");
    }
}
