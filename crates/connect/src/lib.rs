//! How to reach a host: OpenSSH sessions and the agent's upload. Fails closed.
