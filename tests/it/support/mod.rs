//! Small actors that several subjects need.

pub mod command;
pub mod stand_in;
