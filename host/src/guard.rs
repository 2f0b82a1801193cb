//! The sshd guard: nobody is locked out.
