//! Copies of the database file: made while it is in use, checked, and put back.
