//! `warded man`: manual pages, made from the same source as `--help`.

use super::{definition, output::Output};
use clap::{Args, Command};
use clap_mangen::Man as Page;
use std::path::{Path, PathBuf};
use warded_lib::{
    error::{Error, Exit, Result},
    machine::durable,
    text::count,
};

/// Write the manual pages, warded.1 and one for each command
#[derive(Debug, Args)]
pub(super) struct Man {
    /// The directory, such as /usr/local/share/man/man1
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Man {
    pub(super) fn run(&self, output: Output) -> Result<Exit> {
        let mut pages = Vec::new();
        let mut command = definition();
        command.build();
        render(&command, "warded", &mut pages)?;
        durable::directory(&self.directory)
            .map_err(|error| Error::failed(format!("could not make {}", self.directory.display())).cause(error))?;
        pages.iter().try_for_each(|(name, text)| write(&self.directory.join(name), text))?;
        output.line(format!("Wrote {} to {}.", count(pages.len(), "page"), self.directory.display()))?;
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        output.object(&serde_json::json!({ "schema": "warded.man/1", "directory": self.directory, "pages": names }))?;
        Ok(Exit::Done)
    }
}

/// The page of a command, and the pages of its subcommands.
fn render(command: &Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let mut text = Vec::new();
    let page = Page::new(command.clone());
    page.render(&mut text).map_err(|error| Error::failed("cannot write a manual page").cause(error))?;
    pages.push((format!("{name}.1"), text));
    let mut inner = command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help");
    inner.try_for_each(|inner| render(inner, &format!("{name}-{}", inner.get_name()), pages))
}

fn write(path: &Path, text: &[u8]) -> Result<()> {
    durable::replace(path, text, 0o644)
        .map_err(|error| Error::failed(format!("could not write {}", path.display())).cause(error))
}
