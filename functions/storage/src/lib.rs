//! functions/storage
