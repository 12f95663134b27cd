//! To and from `model`.
