//! The artifact store, which is an apt repository.
