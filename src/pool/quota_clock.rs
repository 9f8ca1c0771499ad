//! Google's quota windows: when its minute and its day end.
