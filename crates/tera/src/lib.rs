//! Templates by Tera.
