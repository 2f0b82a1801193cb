//! Flows through the public interface, against real peers.
