use std::{borrow::Cow, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::row::{Bad, Field};

/// Reads one JSON object into the fields of these names, in their order. A missing member and `null` are null; numbers and truths become the text that they
/// are written as; members of other names are passed over.
///
/// # Errors
/// LINE_MALFORMED when the line is no object, or a wanted member is an object or an array.
pub(super) fn split<'t>(line: &'t str, names: &[String], fields: &mut Vec<Field<'t>>) -> Result<(), Bad> {
    fields.resize(names.len(), None);
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let read = deserializer.deserialize_map(Object { names, fields }).and_then(|()| deserializer.end());
    read.map_err(|error| Bad::new("LINE_MALFORMED", format!("expected a JSON object with plain members; found {error}")))
}

struct Object<'f, 't> {
    names: &'f [String],
    fields: &'f mut Vec<Field<'t>>,
}

impl<'t> Visitor<'t> for Object<'_, 't> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key_seed(Plain)? {
            let wanted = name.and_then(|name| self.names.iter().position(|wanted| *wanted == name));
            match wanted {
                Some(position) => self.fields[position] = members.next_value_seed(Plain)?,
                None => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// A value that is neither object nor array, as text.
struct Plain;

impl<'t> DeserializeSeed<'t> for Plain {
    type Value = Field<'t>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Field<'t>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for Plain {
    type Value = Field<'t>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, true, false or null")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'t str) -> Result<Field<'t>, E> {
        let text = text.trim();
        Ok((!text.is_empty()).then_some(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Field<'t>, E> {
        let text = text.trim();
        Ok((!text.is_empty()).then(|| Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Field<'t>, E> {
        Ok(Some(Cow::Owned(number.to_string())))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Field<'t>, E> {
        Ok(Some(Cow::Owned(number.to_string())))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Field<'t>, E> {
        Ok(Some(Cow::Owned(number.to_string())))
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Field<'t>, E> {
        Ok(Some(Cow::Borrowed(if truth { "true" } else { "false" })))
    }

    fn visit_unit<E: Error>(self) -> Result<Field<'t>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'t>>(self, _: A) -> Result<Field<'t>, A::Error> {
        Err(A::Error::custom("an array"))
    }

    fn visit_map<A: MapAccess<'t>>(self, _: A) -> Result<Field<'t>, A::Error> {
        Err(A::Error::custom("an object"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn read(line: &str) -> Result<Vec<Option<String>>, Bad> {
        let names = ["msisdn", "ts", "ok"].map(str::to_owned);
        let mut fields = Vec::new();
        split(line, &names, &mut fields)?;
        Ok(fields.into_iter().map(|field| field.map(Cow::into_owned)).collect())
    }

    #[test]
    fn members_are_found_by_name_whatever_their_order() {
        let line = r#"{"ts": 1740800000000, "extra": {"a": [1]}, "ok": true, "msisdn": " 1390\u0031 "}"#;
        assert_eq!(read(line).unwrap(), [Some("13901".to_owned()), Some("1740800000000".to_owned()), Some("true".to_owned())]);
        assert_eq!(read(r#"{"ts": null, "ok": ""}"#).unwrap(), [None, None, None]);
    }

    #[test]
    fn what_is_no_plain_object_is_malformed() {
        for line in ["", "[]", "{", r#"{"ts": [1]}"#, r#"{"ts": {}}"#, r#"{"ts": 1} x"#, r#"{"ts": 1,}"#] {
            assert_eq!(read(line).unwrap_err().reason, "LINE_MALFORMED", "{line}");
        }
    }
}
