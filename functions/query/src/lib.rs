//! functions/query
