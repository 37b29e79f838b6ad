//! What a kernel was built with, as far as the rig depends on it: read before anything boots, so that a kernel without kexec is told
//! by the option's name and not by a guest that dies minutes later.
//!
//! [`Config`] is a configuration that was read, [`needs`] what each of a cell's two kernels must have; both are pure. [`find`] is
//! where a configuration comes from.

pub mod find;
pub mod needs;

use guest_protocol::Arch;
use std::collections::BTreeMap;

/// A kernel's configuration: the text of a `.config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Options that are set, without `CONFIG_`, with their values as they are written.
    options: BTreeMap<String, String>,
    /// Of its first lines, major and minor.
    version: Option<(u32, u32)>,
}

/// How an option is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting<'a> {
    /// `=y`.
    BuiltIn,
    /// `=m`: the rig's initramfs has no modules.
    Module,
    /// A number or a text.
    Value(&'a str),
    /// Not set, or unknown to this kernel.
    Off,
}

impl Config {
    /// Reads the text; none where it is no kernel's configuration.
    pub fn parse(text: &str) -> Option<Self> {
        let mut options = BTreeMap::new();
        let mut version = None;
        for line in text.lines() {
            // "# Linux/x86 6.1.176 Kernel Configuration" (scripts/kconfig/confdata.c and the main menu's prompt).
            if let Some(heading) = line.strip_suffix("Kernel Configuration").filter(|_| version.is_none()) {
                version = heading.split_whitespace().find_map(major_and_minor);
            }
            if let Some((name, value)) = line.strip_prefix("CONFIG_").and_then(|line| line.split_once('=')) {
                options.insert(name.to_owned(), value.trim().to_owned());
            }
        }
        // Every kernel for x86 has it.
        options.contains_key("X86").then_some(Self { options, version })
    }

    /// How an option, without `CONFIG_`, is set.
    pub fn setting(&self, option: &str) -> Setting<'_> {
        match self.options.get(option).map(String::as_str) {
            None | Some("n") => Setting::Off,
            Some("y") => Setting::BuiltIn,
            Some("m") => Setting::Module,
            Some(value) => Setting::Value(value),
        }
    }

    /// The kernel's version, major and minor, where the text says it.
    pub const fn version(&self) -> Option<(u32, u32)> {
        self.version
    }

    /// The kernel's architecture.
    pub fn arch(&self) -> Arch {
        match self.setting("X86_64") {
            Setting::BuiltIn => Arch::X86_64,
            Setting::Module | Setting::Value(_) | Setting::Off => Arch::I386,
        }
    }
}

fn major_and_minor(word: &str) -> Option<(u32, u32)> {
    let mut numbers = word.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "#\n# Automatically generated file; DO NOT EDIT.\n# Linux/x86 6.12.107 Kernel Configuration\n#\n\
                        CONFIG_X86=y\nCONFIG_X86_64=y\nCONFIG_KEXEC=y\n# CONFIG_KEXEC_FILE is not set\nCONFIG_NF=m\n\
                        CONFIG_SERIAL_8250_RUNTIME_UARTS=4\nCONFIG_CC_VERSION_TEXT=\"gcc = 12\"\n";

    /// Bug: an option that is not set, or set as a module, is taken for built in; or one whose name begins with another's.
    #[test]
    fn settings_are_told_apart() {
        let config = Config::parse(TEXT).unwrap();
        assert_eq!(config.setting("KEXEC"), Setting::BuiltIn);
        assert_eq!(config.setting("KEXEC_FILE"), Setting::Off);
        assert_eq!(config.setting("KEX"), Setting::Off);
        assert_eq!(config.setting("NF"), Setting::Module);
        assert_eq!(config.setting("SERIAL_8250_RUNTIME_UARTS"), Setting::Value("4"));
        assert_eq!((config.version(), config.arch()), (Some((6, 12)), Arch::X86_64));
        let i386 =
            Config::parse("# Linux/i386 5.10.1-rc2 Kernel Configuration\nCONFIG_X86=y\nCONFIG_X86_32=y\n")
                .unwrap();
        assert_eq!((i386.version(), i386.arch()), (Some((5, 10)), Arch::I386));
    }

    /// Bug: a file that is no configuration makes a kernel that lacks every option.
    #[test]
    fn other_texts_are_no_configuration() {
        for text in ["", "#!/bin/sh\nCONFIG_SHELL=/bin/sh\n", "CONFIG_ARM64=y\nCONFIG_KEXEC=y\n"] {
            assert_eq!(Config::parse(text), None, "{text}");
        }
    }
}
