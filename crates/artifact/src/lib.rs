//! Artifacts: a .deb built once from a commit, its provenance and its signature.
