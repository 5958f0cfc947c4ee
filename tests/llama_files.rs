//! Model files, good and bad.
