//! Tests client and server with each other, and each of them with a peer that does one thing wrong.

mod honest;
mod lies;
mod rekeyed;
mod replies;
mod spoilt;
