//! What guests are made of: kernels, reference loaders and a compiler, locked by hash, fetched, verified and unpacked; and the
//! writer of initramfs images. Knows nothing about scenarios or QEMU.
//!
//! [`Store`] is the way in. It takes its mirrors from the host's package configuration, keeps everything in a cache that
//! parallel runs share, and needs no network for what is cached.

mod add;
mod apt_sources;
mod artifact;
mod cache;
mod current;
mod deb;
mod debversion;
mod digest;
mod download;
mod error;
mod index;
pub mod initramfs;
mod lock;
mod maintain;
mod mirror;
mod needed;
mod progress;
mod recipe;
mod stage;
mod store;
mod tree;

pub use add::{Added, KernelPackage};
pub use artifact::{
    Busybox, GuestFile, KernelImage, KnownKernel, LoaderTree, Ovmf, RustTree, known_kernels, known_loaders,
};
pub use cache::default_cache_folder;
pub use digest::Sha256;
pub use download::Patience;
pub use error::{Error, Errors};
pub use lock::{ArtifactName, Deb, DebArch, Lock, LockedKernel, LockedLoader, LockedRust, NotAnArtifactName};
pub use maintain::{Change, Listed, State, Verified};
pub use mirror::MirrorOption;
pub use progress::ProgressMode;
pub use store::{Store, StoreOptions};
