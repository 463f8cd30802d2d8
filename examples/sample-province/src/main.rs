//! `sample-province`: writes the sample province into a folder.
fn main() {}
