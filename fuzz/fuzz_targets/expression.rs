//! Expressions and texts with templates: checked, then evaluated within their limits.
#![no_main]

use debark_expr::{check_expr, check_str};
use debark_value::Value;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (engine, scope) = (debark_fuzz::engine(), debark_fuzz::scope());
    if let Err(error) = check_expr(text) {
        assert!(!error.to_string().is_empty());
    }
    let _ = check_str(text);
    if let Err(error) = engine.eval(text, &scope) {
        assert!(!error.to_string().is_empty());
    }
    let _ = engine.render_str(text, &scope);
    let _ = engine.test(&Value::from(text), &scope);
    let _ = engine.render_value(&Value::list([Value::from(text)]), &scope);
});
