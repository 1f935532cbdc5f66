//! `framefleet devices`: what this machine has for running models.

mod json;
mod text;

use super::{DONE, say};
use crate::device::{Chosen, DeviceWish, Inventory, choose};
use clap::Args;

/// Lists what models can run on, what is missing for GPUs with the command that installs it, and what --device auto takes.
#[derive(Debug, Args)]
pub struct Devices {
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// As wide as the help.
const MOST_COLUMNS: u16 = 100;

impl Devices {
    pub fn execute(&self) -> u8 {
        let inventory = Inventory::take();
        if self.json {
            say(&json::document(&inventory).to_string());
        } else {
            let (_, columns) = console::Term::stdout().size();
            say(&text::page(&inventory, columns.min(MOST_COLUMNS).into()));
        }
        DONE
    }
}

/// What `--device auto` takes, and why.
struct Choice {
    device: &'static str,
    why: String,
}

impl Choice {
    fn on(inventory: &Inventory) -> Self {
        match choose(DeviceWish::Auto, inventory) {
            Ok(Chosen::Cuda(name)) => Self { device: "cuda:0", why: format!("{name}, on which a model has run") },
            Ok(Chosen::Cpu { note: None }) | Err(_) => {
                let why = match inventory.on_the_bus {
                    _ if inventory.has_driver() => "the driver shows no GPU to this process",
                    0 => "there is no NVIDIA GPU",
                    _ => "there is an NVIDIA GPU, and no driver for it",
                };
                Self { device: "cpu", why: why.to_owned() }
            }
            Ok(Chosen::Cpu { note: Some(_) }) => {
                Self { device: "cpu", why: "there is a GPU that cannot be used, for what is said above".to_owned() }
            }
        }
    }
}

#[cfg(test)]
mod tests;
