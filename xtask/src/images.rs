//! `cargo xtask images`: the images that clusters are made of, as OCI image layouts in the cache, from Debian's packages and
//! from Debian's source where there is no package. No container registry is asked for anything.
//!
//! An image is a list of layers, and a layer is made once per recipe and package version: see `layer.rs`. A finished
//! image is found at `<cache>/images/<name>/<tag>`.

mod archive;
mod busybox;
mod components;
mod control_plane;
mod digest;
mod etcd;
mod layer;
mod layout;
mod node;
mod shared_objects;
mod store;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::paths::{Cache, Workspace};

/// Where a finished image is and what it is called.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) name: &'static str,
    pub(crate) tag: String,
    pub(crate) layout: PathBuf,
}

impl Image {
    /// What the pool's own store calls it.
    pub(crate) fn reference(&self) -> String {
        format!("pool/{}:{}", self.name, self.tag)
    }
}

/// How an image is made.
struct Recipe {
    name: &'static str,
    make: fn(&Kitchen<'_>) -> Result<layout::Description>,
}

/// What a recipe works with.
struct Kitchen<'a> {
    workspace: &'a Workspace,
    cache: &'a Cache,
    layers: store::LayerStore<'a>,
}

const RECIPES: &[Recipe] = &[
    Recipe { name: "busybox", make: busybox::image },
    Recipe { name: "etcd", make: etcd::image },
    Recipe { name: "kube-control-plane", make: control_plane::image },
    Recipe { name: "kubernetes-node", make: node::image },
];

/// Builds the images named in `only`, or all of them.
pub(crate) fn build(workspace: &Workspace, cache: &Cache, only: &[String]) -> Result<Vec<Image>> {
    if let Some(unknown) = only.iter().find(|name| !RECIPES.iter().any(|recipe| recipe.name == **name)) {
        let known: Vec<_> = RECIPES.iter().map(|recipe| recipe.name).collect();
        bail!("there is no image {unknown}; the images are {}", known.join(", "));
    }
    let _lock = cache.lock()?;
    let kitchen = Kitchen { workspace, cache, layers: store::LayerStore::new(cache) };
    let mut images = Vec::new();
    for recipe in RECIPES {
        if only.is_empty() || only.iter().any(|name| name == recipe.name) {
            let description = (recipe.make)(&kitchen).with_context(|| format!("build the image {}", recipe.name))?;
            let layout = layout::write(cache, recipe.name, &description)
                .with_context(|| format!("write the image {}", recipe.name))?;
            images.push(Image { name: recipe.name, tag: description.tag, layout });
        }
    }
    store::prune(cache)?;
    Ok(images)
}

/// The directory with the compiled programs of Kubernetes.
pub(crate) fn programs(cache: &Cache) -> Result<PathBuf> {
    components::Components::get(cache).map(components::Components::into_directory)
}

/// One line per image: its reference in a pool and the directory of its layout.
pub(crate) fn print(images: &[Image]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for image in images {
        writeln!(out, "{}\t{}", image.reference(), image.layout.display()).context("print the images")?;
    }
    Ok(())
}
