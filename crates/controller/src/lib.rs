//! Who does what when: batches, barriers, delegation, budgets, events.
