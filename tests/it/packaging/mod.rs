//! What operators get: the version, the service, packages, the container, the pages.

mod build_script;
mod debian;
mod service;
