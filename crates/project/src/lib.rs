//! The project file, debark.yml.
