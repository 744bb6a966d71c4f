//! Throwaway real Debian hosts in containers with their own network namespaces.
