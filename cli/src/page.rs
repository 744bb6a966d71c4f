//! Pages of HTML that hold all they need.

use serde::Serialize;

/// The look of all of them.
const STYLE: &str = include_str!("../../templates/page.css");

/// Fills in a page: every text is escaped.
///
/// # Errors
/// The template is wrong.
pub fn render(template: &str, page: &impl Serialize) -> Result<String, tera::Error> {
    let mut tera = tera::Tera::new();
    // Names that end with .html are those where what is filled in is escaped.
    tera.add_raw_templates([("page.css", STYLE), ("page.html", template)])?;
    tera.render("page.html", &tera::Context::from_serialize(page)?)
}
