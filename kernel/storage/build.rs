//! Migrations are compiled into the crate: rebuild when one is added.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
