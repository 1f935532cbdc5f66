//! What the card and the processor do meanwhile.

use nvml_wrapper::enum_wrappers::device::PcieUtilCounter;
use nvml_wrapper::{Device, Nvml};
use std::fs;

/// As NVML tells it at one moment; what it does not tell is not there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    /// Of NVML's own last period (a sixth of a second to a second), the share in which a kernel ran, 0 to 1.
    pub gpu: Option<f64>,
    /// The same of the decoders.
    pub nvdec: Option<f64>,
    /// From the host to the card, over the last 20 ms.
    pub received_bytes_per_s: Option<f64>,
}

/// The means of readings.
pub fn mean(readings: &[Reading]) -> Reading {
    let of = |value: fn(&Reading) -> Option<f64>| {
        let values: Vec<f64> = readings.iter().filter_map(value).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    Reading {
        gpu: of(|reading| reading.gpu),
        nvdec: of(|reading| reading.nvdec),
        received_bytes_per_s: of(|reading| reading.received_bytes_per_s),
    }
}

/// Takes some tens of milliseconds, which is NVML's.
pub fn read(device: &Device<'_>) -> Reading {
    let percent = |value: u32| f64::from(value) / 100.0;
    Reading {
        gpu: device.utilization_rates().ok().map(|rates| percent(rates.gpu)),
        nvdec: device.decoder_utilization().ok().map(|decoder| percent(decoder.utilization)),
        // In KB/s, as NVML's header says.
        received_bytes_per_s: device
            .pcie_throughput(PcieUtilCounter::Receive)
            .ok()
            .map(|kilobytes| 1000.0 * f64::from(kilobytes)),
    }
}

/// NVML's device for a GPU of CUDA's, which counts them otherwise.
pub fn device<'a>(nvml: &'a Nvml, uuid: Option<&str>) -> Option<Device<'a>> {
    nvml.device_by_uuid(uuid?).ok()
}

/// Seconds of the processor that this process has used, in user space and in the kernel; by `proc(5)`, the fields 14 and 15,
/// in hundredths.
pub fn processor_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may have blanks.
    let behind_the_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = behind_the_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}
