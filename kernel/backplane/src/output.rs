//! How commands print: tables for people, JSON for programs, errors that say what to do.

use anyhow::Context;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use tonic::Status;
use tonic_types::StatusExt;

/// Prints a line to standard output; a reader that went away (`| head`) ends the command quietly.
pub(crate) fn say(text: impl std::fmt::Display) {
    use std::io::Write;
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// A table with a head.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(head.to_vec());
    table.add_rows(rows);
    say(table);
}

/// A message of the contracts as JSON, as Connect would send it.
///
/// # Errors
/// When `name` is not a message of the contracts.
pub(crate) fn json(name: &str, message: &impl Message) -> anyhow::Result<()> {
    let pool = DescriptorPool::decode(backplane_proto::DESCRIPTOR_SET)?;
    let descriptor = pool.get_message_by_name(name).with_context(|| format!("no message {name}"))?;
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
    let options = prost_reflect::SerializeOptions::new().skip_default_fields(false);
    let mut text = Vec::new();
    message.serialize_with_options(&mut serde_json::Serializer::pretty(&mut text), &options)?;
    say(String::from_utf8_lossy(&text));
    Ok(())
}

/// An instant for people: UTC, to the second.
pub(crate) fn instant(at: Option<&prost_types::Timestamp>) -> String {
    at.and_then(|at| jiff::Timestamp::new(at.seconds, at.nanos).ok()).map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// An error with its causes; a refused call with its reason and place.
pub(crate) fn explain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for (depth, cause) in error.chain().enumerate() {
        if depth > 0 {
            text.push_str(": ");
        }
        match cause.downcast_ref::<Status>() {
            Some(status) => {
                text.push_str(&explain_status(status));
                break;
            }
            None => text.push_str(&cause.to_string()),
        }
    }
    text
}

fn explain_status(status: &Status) -> String {
    let mut text = status.message().to_owned();
    if let Some(info) = status.get_details_error_info() {
        let mut place: Vec<_> = info.metadata.iter().map(|(key, value)| format!("{key} {value}")).collect();
        place.sort();
        text.push_str(&format!("\n  reason: {}", info.reason));
        if !place.is_empty() {
            text.push_str(&format!(" ({})", place.join(", ")));
        }
    }
    if let Some(trace) = status.metadata().get("backplane-trace-id").and_then(|value| value.to_str().ok()) {
        text.push_str(&format!("\n  trace: {trace}"));
    }
    text
}
