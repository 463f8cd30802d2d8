/// The lines of a table below its header, split. Fields of ours never hold a comma.
pub(super) fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().skip(1).map(|line| line.split(',').collect())
}

/// A field that may be empty.
pub(super) fn optional<T: core::str::FromStr>(field: &str) -> Result<Option<T>, T::Err> {
    if field.is_empty() { Ok(None) } else { field.parse().map(Some) }
}
