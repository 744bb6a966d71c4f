//! Deploy, promote and roll back.
