//! What the server tells about itself by HTTP: metrics for Prometheus, and whether it lives and takes clients.

mod endpoint;

pub(crate) use endpoint::MetricsListener;
