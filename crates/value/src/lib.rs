//! Values of the playbook language: what variables, registers, facts and parameters hold.
