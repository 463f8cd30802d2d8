use anyhow::bail;
use serde_json::Value;

/// Whether an answer has what is expected of it: each field that is named, each element of a list in its order. Fields that are not named may be anything, and null is one that
/// is not there. An integer of 64 bits, which JSON has as a text, equals the number.
///
/// # Errors
/// With the place of the first difference, what was expected there and what there is.
pub(super) fn compare(expected: &Value, answer: &Value) -> anyhow::Result<()> {
    compare_at("", expected, answer)
}

fn compare_at(place: &str, expected: &Value, answer: &Value) -> anyhow::Result<()> {
    match (expected, answer) {
        (Value::Object(expected), Value::Object(answer)) => {
            let join = if place.is_empty() { "" } else { "." };
            expected.iter().try_for_each(|(field, expected)| match (expected, answer.get(field)) {
                (Value::Null, None) => Ok(()),
                (expected, None) => {
                    let fields: Vec<&str> = answer.keys().map(String::as_str).collect();
                    bail!("{place}{join}{field}: expected {expected}, and there is no such field: there are {}", fields.join(", "))
                }
                (expected, Some(answer)) => compare_at(&format!("{place}{join}{field}"), expected, answer),
            })
        }
        (Value::Array(expected), Value::Array(answer)) if expected.len() == answer.len() => {
            expected.iter().zip(answer).enumerate().try_for_each(|(index, (expected, answer))| compare_at(&format!("{place}[{index}]"), expected, answer))
        }
        (expected, answer) if is_equal(expected, answer) => Ok(()),
        (expected, answer) => {
            let place = if place.is_empty() { "the answer" } else { place };
            bail!("{place}: expected {expected}, and there is {answer}")
        }
    }
}

fn is_equal(expected: &Value, answer: &Value) -> bool {
    match (expected, answer) {
        (Value::Number(number), Value::String(text)) => number.as_i64().is_some_and(|number| text.parse() == Ok(number)),
        (Value::Number(one), Value::Number(other)) => one == other || (!one.is_i64() || !other.is_i64()) && one.as_f64() == other.as_f64(),
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_named_has_to_be_there_and_what_is_not_may_be_anything() {
        let answer =
            json!({"pages": [{"page": "/", "views": "3"}, {"page": "/pay", "views": "1", "ok": true}], "share": 0.5, "snapshotId": "12", "lacking": null});
        let pages = json!([{"page": "/", "views": 3}, {"views": 1, "failures": null}]);
        compare(&json!({"pages": pages, "share": 0.5}), &answer).unwrap();
        for (expected, difference) in [
            (json!({"pages": [{"views": 4}, {}]}), "pages[0].views: expected 4, and there is \"3\""),
            (json!({"pages": [{"page": "/"}]}), "pages: expected [{\"page\":\"/\"}], and there is [{"),
            (json!({"pages": [{}, {"failures": 0}]}), "pages[1].failures: expected 0, and there is no such field: there are ok, page, views"),
            (json!({"snapshotid": ""}), "snapshotid: expected \"\", and there is no such field"),
            (json!({"lacking": 0}), "lacking: expected 0, and there is null"),
            (json!({"pages": [{}, {"ok": false}]}), "pages[1].ok: expected false, and there is true"),
            (json!({"share": 0.25}), "share: expected 0.25, and there is 0.5"),
            (json!({"snapshotId": "13"}), "snapshotId: expected \"13\", and there is \"12\""),
            (json!([]), "the answer: expected [], and there is {"),
        ] {
            let said = compare(&expected, &answer).unwrap_err().to_string();
            assert!(said.starts_with(difference), "{said}");
        }
    }

    #[test]
    fn an_integer_beyond_what_a_double_holds_is_another_than_its_neighbour() {
        let large = 9_007_199_254_740_993_i64;
        compare(&json!(large), &json!(large.to_string())).unwrap();
        assert!(compare(&json!(large), &json!(large - 1)).is_err() && compare(&json!(large), &json!((large - 1).to_string())).is_err());
    }
}
