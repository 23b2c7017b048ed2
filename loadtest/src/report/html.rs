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
    let mut data = serde_json::to_value(reports)?;
    for ((_, report), data) in reports.iter().zip(data.as_array_mut().into_iter().flatten()) {
        // Numbers of a script have 53 bits.
        data[1]["seed"] = report.seed.to_string().into();
    }
    // `</script>` in a name would end the script.
    let data = data.to_string().replace('<', "\\u003c");
    Ok(PAGE.replace(MARK, &data))
}
