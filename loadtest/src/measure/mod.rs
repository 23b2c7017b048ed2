//! What is measured, and how it is kept.

mod processor;
mod recorder;
mod series;
mod step;
mod storms;
mod window;

pub(crate) use processor::{
    Memory, ProcessorClock, ProcessorSample, ServerUsage, descriptors, memory, own_processor_time, own_wait,
    process_name,
};
pub(crate) use recorder::{Live, Recorder};
pub(crate) use series::Series;
pub(crate) use step::Step;
pub(crate) use storms::{Storms, Went};
pub(crate) use window::Window;
