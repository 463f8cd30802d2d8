use std::sync::Arc;

use arrow_array::{Array, ArrayRef, StringArray, cast::AsArray, new_null_array};

use crate::contract::Mask;

/// The column with its mask on. Equal values stay equal, so that groups can still be counted; nulls stay null.
pub(super) fn masked(mask: Mask, column: &ArrayRef) -> ArrayRef {
    // Whatever is not text has no part that may stay.
    let Some(texts) = column.as_string_opt::<i32>() else {
        return new_null_array(column.data_type(), column.len());
    };
    let shown = texts.iter().map(|text| {
        text.map(|text| match mask {
            Mask::Msisdn => msisdn(text),
            Mask::Address => address(text),
            Mask::Text => text.chars().map(|c| if c.is_numeric() { '*' } else { c }).collect(),
            Mask::All => "***".to_owned(),
        })
    });
    Arc::new(shown.collect::<StringArray>())
}

/// 13800138000 is 138****8000. A number too short to hide anything in is hidden whole.
fn msisdn(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let count = characters.len();
    if count < 9 {
        return "*".repeat(count);
    }
    characters.iter().enumerate().map(|(index, c)| if index < 3 || index >= count - 4 { *c } else { '*' }).collect()
}

/// 83.149.9.216 is 83.149.*.*, 2001:db8:1::7 is 2001:db8:*. What is no address is hidden whole.
fn address(text: &str) -> String {
    if let Ok(address) = text.parse::<std::net::Ipv4Addr>() {
        let [first, second, ..] = address.octets();
        return format!("{first}.{second}.*.*");
    }
    match text.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("{:x}:{:x}:*", address.segments()[0], address.segments()[1]),
        Err(_) => "***".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn one(mask: Mask, text: &str) -> String {
        let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
        masked(mask, &column).as_string::<i32>().value(0).to_owned()
    }

    #[test]
    fn masks_keep_what_the_contract_says_and_no_more() {
        assert_eq!(one(Mask::Msisdn, "13800138000"), "138****8000");
        assert_eq!(one(Mask::Msisdn, "10086"), "*****");
        assert_eq!(one(Mask::Address, "83.149.9.216"), "83.149.*.*");
        assert_eq!(one(Mask::Address, "2001:db8:1::7"), "2001:db8:*");
        assert_eq!(one(Mask::Address, "gateway-7.example"), "***");
        assert_eq!(one(Mask::Text, "call 13800138000 after ７"), "call *********** after *");
        assert_eq!(one(Mask::All, "x"), "***");
    }
}
