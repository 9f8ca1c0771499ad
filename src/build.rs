//! Rebuilds when a migration is added or removed, because they are embedded.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
