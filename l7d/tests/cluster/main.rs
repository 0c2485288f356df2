//! A cluster that is followed: lists and watches on good days and bad ones, and what is written back.

mod agents;
mod away;
mod cluster;
mod crds;
mod dead;
mod lists;
mod rights;
mod telling;
mod watches;
