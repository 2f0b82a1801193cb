//! Changes all of it or nothing: lock, journal, commit, roll back, undo.
