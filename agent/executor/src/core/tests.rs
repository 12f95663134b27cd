//! The core's rules, as rows of events and the commands that follow.
