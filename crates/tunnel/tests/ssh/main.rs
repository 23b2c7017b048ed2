//! FTP through a real sshd, with real clients, between networks that have no other way to each other.

mod actives_and_passives;
mod clients;
mod dialogues;
mod endings;
mod plain_forwardings;
mod refusals;
mod support;
