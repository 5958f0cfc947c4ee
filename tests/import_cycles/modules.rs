//! The modules of a crate, the names each of them binds, and the paths its code uses.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

/// What a name means inside a module.
#[derive(Clone, Debug)]
pub enum Binding {
    /// Defined in the module's own file.
    Item,
    /// A child module, by its index.
    Child(usize),
    /// Bound by a `use` of this path.
    Use { path: Vec<String>, public: bool },
}

/// What a path leads to.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    Module(usize),
    /// An item that this module defines.
    ItemOf(usize),
}

/// One file.
#[derive(Debug, Default)]
pub struct Module {
    /// `crate`, `metrics`, `pool::round`.
    pub name: String,
    pub parent: Option<usize>,
    pub bindings: BTreeMap<String, Binding>,
    /// The paths of glob imports.
    pub globs: Vec<Vec<String>>,
    /// Paths in the code of the file, imports left out.
    pub used: Vec<Vec<String>>,
}

/// The files of a crate. The first is its root.
pub struct Crate {
    pub modules: Vec<Module>,
}

impl Crate {
    /// Reads `root` and every file that its `mod` declarations lead to.
    pub fn read(root: &Path) -> Self {
        let mut modules = Vec::new();
        let dir = root.parent().unwrap().to_path_buf();
        read_file(root, &dir, "crate", None, &mut modules);
        Self { modules }
    }

    /// A crate of files given as text; the first is the root.
    pub fn of_sources(dir: &Path, files: &[(&str, &str)]) -> Self {
        for (name, text) in files {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self::read(&dir.join(files[0].0))
    }

    /// What `path` names in `module`; None if it is not of this crate.
    pub fn resolve(&self, module: usize, path: &[String]) -> Option<Target> {
        self.resolve_within(module, path, 8)
    }

    /// `depth` bounds chains of re-exports.
    fn resolve_within(&self, module: usize, path: &[String], depth: usize) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.find_in(0, rest, depth),
            "self" => self.find_in(module, rest, depth),
            "super" => match rest.first().map(String::as_str) {
                Some("super") => self.resolve_within(self.modules[module].parent?, rest, depth),
                _ => self.find_in(self.modules[module].parent?, rest, depth),
            },
            name if self.modules[module].bindings.contains_key(name) => {
                self.find_in(module, path, depth)
            }
            _ => None,
        }
    }

    /// `path` starting inside `module`.
    fn find_in(&self, module: usize, path: &[String], depth: usize) -> Option<Target> {
        let Some((first, rest)) = path.split_first() else {
            return Some(Target::Module(module));
        };
        let this = &self.modules[module];
        match this.bindings.get(first) {
            Some(Binding::Item) => Some(Target::ItemOf(module)),
            Some(Binding::Child(child)) => self.find_in(*child, rest, depth),
            Some(Binding::Use { .. }) if depth == 0 => None,
            Some(Binding::Use { path, .. }) => {
                let whole: Vec<String> = path.iter().chain(rest).cloned().collect();
                self.resolve_within(module, &whole, depth - 1)
            }
            None if depth == 0 => None,
            None => {
                let by_glob = this.globs.iter().find_map(|glob| {
                    let Target::Module(target) = self.resolve_within(module, glob, depth - 1)?
                    else {
                        return None;
                    };
                    let known = self.modules[target].bindings.contains_key(first);
                    known.then(|| self.find_in(target, path, depth - 1))?
                });
                // made by a macro, perhaps
                Some(by_glob.unwrap_or(Target::ItemOf(module)))
            }
        }
    }
}

/// Reads one file and its children into `modules`; returns its index. `dir` is the folder of its
/// children.
fn read_file(
    file: &Path,
    dir: &Path,
    name: &str,
    parent: Option<usize>,
    modules: &mut Vec<Module>,
) -> usize {
    let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let syntax = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let index = modules.len();
    modules.push(Module {
        name: name.to_string(),
        parent,
        ..Module::default()
    });
    let mut reader = Reader::default();
    reader.visit_file(&syntax);
    let Reader {
        bindings,
        globs,
        used,
        children,
        ..
    } = reader;
    let module = &mut modules[index];
    (module.bindings, module.globs, module.used) = (bindings, globs, used);
    for (child, path) in children {
        let (file, dir) = match path {
            Some(path) => {
                let file = file.parent().unwrap().join(path);
                (file.clone(), file.with_extension(""))
            }
            None => {
                let flat = dir.join(format!("{child}.rs"));
                let nested = dir.join(&child).join("mod.rs");
                let file: PathBuf = if flat.exists() { flat } else { nested };
                (file, dir.join(&child))
            }
        };
        let full = match name {
            "crate" => child.clone(),
            _ => format!("{name}::{child}"),
        };
        let at = read_file(&file, &dir, &full, Some(index), modules);
        modules[index].bindings.insert(child, Binding::Child(at));
    }
    index
}

/// Collects one file. Inline modules count as part of it.
#[derive(Default)]
struct Reader {
    bindings: BTreeMap<String, Binding>,
    globs: Vec<Vec<String>>,
    used: Vec<Vec<String>>,
    /// Modules in files of their own, with a `#[path]`.
    children: Vec<(String, Option<String>)>,
    /// Inline modules around the code being read.
    depth: usize,
}

impl Reader {
    /// Inside inline modules the first `super`s lead back to the file itself.
    fn seen_from_file(&self, mut path: Vec<String>) -> Vec<String> {
        for _ in 0..self.depth {
            if path.first().is_some_and(|first| first == "super") {
                path[0] = "self".to_string();
                if path.get(1).is_some_and(|second| second == "super") {
                    path.remove(0);
                }
            }
        }
        path
    }

    fn use_tree(&mut self, tree: &UseTree, prefix: &[String], public: bool) {
        let with = |name: &syn::Ident| -> Vec<String> {
            let mut path = prefix.to_vec();
            path.push(name.to_string());
            path
        };
        let (name, path) = match tree {
            UseTree::Path(tree) => return self.use_tree(&tree.tree, &with(&tree.ident), public),
            UseTree::Group(group) => {
                let each = group.items.iter();
                return each.for_each(|tree| self.use_tree(tree, prefix, public));
            }
            UseTree::Glob(_) => return self.globs.push(self.seen_from_file(prefix.to_vec())),
            UseTree::Name(name) if name.ident == "self" => {
                (prefix.last().cloned().unwrap_or_default(), prefix.to_vec())
            }
            UseTree::Name(name) => (name.ident.to_string(), with(&name.ident)),
            UseTree::Rename(rename) => (rename.rename.to_string(), with(&rename.ident)),
        };
        let path = self.seen_from_file(path);
        // `use models;` would lead to itself
        if path.len() > 1 || path[0] != name {
            let name = if name == "_" {
                format!("_ {path:?}")
            } else {
                name
            };
            self.bindings.insert(name, Binding::Use { path, public });
        }
    }

    fn tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons) = (Vec::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.finish(&mut path);
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.finish(&mut path);
                    colons = 0;
                    self.tokens(group.stream());
                }
                _ => {
                    self.finish(&mut path);
                    colons = 0;
                }
            }
        }
        self.finish(&mut path);
    }

    fn finish(&mut self, path: &mut Vec<String>) {
        if !path.is_empty() {
            let path = self.seen_from_file(std::mem::take(path));
            self.used.push(path);
        }
    }
}

/// Compiled for tests alone.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("test"))
    })
}

/// The file of `#[path = "…"]`.
fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes
        .iter()
        .find_map(|attribute| match &attribute.meta {
            syn::Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
                syn::Expr::Lit(syn::ExprLit {
                    lit: syn::Lit::Str(text),
                    ..
                }) => Some(text.value()),
                _ => None,
            },
            _ => None,
        })
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        let defined = match item {
            Item::Const(item) => Some((&item.attrs, &item.ident)),
            Item::Enum(item) => Some((&item.attrs, &item.ident)),
            Item::Fn(item) => Some((&item.attrs, &item.sig.ident)),
            Item::Static(item) => Some((&item.attrs, &item.ident)),
            Item::Struct(item) => Some((&item.attrs, &item.ident)),
            Item::Trait(item) => Some((&item.attrs, &item.ident)),
            Item::Type(item) => Some((&item.attrs, &item.ident)),
            Item::Union(item) => Some((&item.attrs, &item.ident)),
            Item::Mod(item) => {
                if is_test(&item.attrs) {
                    return;
                }
                let name = item.ident.to_string();
                if item.content.is_none() {
                    self.children.push((name, path_attribute(&item.attrs)));
                    return;
                }
                self.bindings.insert(name, Binding::Item);
                self.depth += 1;
                visit::visit_item_mod(self, item);
                self.depth -= 1;
                return;
            }
            Item::Use(item) => {
                if !is_test(&item.attrs) {
                    let public = !matches!(item.vis, Visibility::Inherited);
                    self.use_tree(&item.tree, &[], public);
                }
                return;
            }
            _ => None,
        };
        if let Some((attributes, name)) = defined {
            if is_test(attributes) {
                return;
            }
            self.bindings.insert(name.to_string(), Binding::Item);
        }
        visit::visit_item(self, item);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|s| s.ident.to_string());
        let path_names = self.seen_from_file(names.collect());
        self.used.push(path_names);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        visit::visit_macro(self, call);
        self.tokens(call.tokens.clone());
    }
}
