//! A report, or several over one another, as one page that needs nothing else.

use super::Report;

/// The page; in it stands a mark where the reports go.
const PAGE: &str = include_str!("page.html");
const MARK: &str = "/*REPORTS*/[]";

/// The page of these reports, each with the name that it has in the legend.
///
/// # Errors
///
/// If a report cannot be written as JSON, which a finite report always can.
pub(crate) fn page(reports: &[(String, Report)]) -> serde_json::Result<String> {
    // `</script>` in a name would end the script.
    let data = serde_json::to_string(reports)?.replace('<', "\\u003c");
    Ok(PAGE.replace(MARK, &data))
}
