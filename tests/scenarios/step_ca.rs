//! With the real step-ca: everything that the `step` program was needed for.

mod bootstrap;
mod causes;
mod hostile;
mod lifecycle;
mod tokens;
