//! Template files: checked, then rendered within their limits.
#![no_main]

use debark_expr::{TemplateOptions, check_template};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let options = TemplateOptions::default();
    let checked = check_template(source, &options);
    let rendered = debark_fuzz::engine().render_template(source, &options, &debark_fuzz::scope());
    if let Err(error) = checked {
        assert!(rendered.is_err() || !error.to_string().is_empty());
    }
});
