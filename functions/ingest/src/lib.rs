//! functions/ingest
