//! Rebuilds when a migration comes or goes, because they are embedded.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
