//! `hooklatch init SCHEME…`: writes a first configuration with a route for each scheme, and a secret for each route.
//!
//! A secret that the user enters at the provider is made here. One that the provider makes has a placeholder, so that the
//! configuration loads: `check` and `serve` warn of it, and the route refuses every delivery of the provider until then. No file
//! is overwritten.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use clap_complete::ArgValueCandidates;

use super::schemes::unknown;
use super::{Failure, completions, load};
use crate::schemes::spec::{Parameter, SecretFrom};
use crate::schemes::{self, Secret, Spec};

/// The folder of the secrets, beside the configuration.
const SECRETS: &str = "secrets";
/// Stands for the host by which providers reach the gateway.
const HOST: &str = "https://hooks.example.com";
/// Stands for the handler.
const HANDLER: &str = "http://127.0.0.1:8000";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The schemes; `hooklatch schemes` lists them
    #[arg(required = true, value_name = "SCHEME", add = ArgValueCandidates::new(completions::schemes))]
    schemes: Vec<String>,
    /// The file to write; it must not exist
    #[arg(short, long, value_name = "FILE", default_value = "gateway.yaml")]
    config: PathBuf,
}

/// A file with a secret.
struct SecretFile {
    /// Its name in the configuration.
    name: String,
    secret: Secret,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let mut specs: Vec<&Spec> = Vec::new();
    for name in &args.schemes {
        let spec = schemes::find(name).ok_or_else(|| unknown(name))?;
        if let Some(reason) = &spec.unsupported {
            return Err(Failure::Usage(format!("{name} cannot be verified: {reason}")));
        }
        if specs.iter().any(|before| before.name == spec.name) {
            return Err(Failure::Usage(format!("{name} is named twice")));
        }
        specs.push(spec);
    }
    let mut file = create(&args.config, 0o644).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let path = args.config.display();
            Failure::Failed(format!("{path} exists, and is left as it is: name another file with -c FILE"))
        }
        _ => cannot(&args.config, &error),
    })?;
    let folder = args.config.parent().unwrap_or(Path::new(""));
    let mut made = Made { files: vec![args.config.clone()], folder: None };
    let written = write(&mut file, folder, &specs, &mut made).and_then(|()| load(&args.config).map(drop));
    if let Err(failure) = written {
        made.remove();
        return Err(failure);
    }
    tell(args, &specs)
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("cannot write {}: {error}", path.display()))
}

/// Makes a file that must not exist.
fn create(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

/// What was made so far.
struct Made {
    files: Vec<PathBuf>,
    folder: Option<PathBuf>,
}

impl Made {
    /// Takes it away again: it is of no use. What cannot be removed is named.
    fn remove(self) {
        let files = self.files.iter().map(|path| (path, std::fs::remove_file(path)));
        for (path, removed) in files.chain(self.folder.iter().map(|path| (path, std::fs::remove_dir(path)))) {
            if let Err(error) = removed {
                errln!("hooklatch: {} was made in vain, and cannot be removed: {error}", path.display());
            }
        }
    }
}

/// Writes the secrets, then the configuration.
fn write(file: &mut File, folder: &Path, specs: &[&Spec], made: &mut Made) -> Result<(), Failure> {
    let secrets = folder.join(SECRETS);
    let mode = mode_of_secrets(&secrets);
    match DirBuilder::new().mode(0o700).create(&secrets) {
        Ok(()) => made.folder = Some(secrets),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(cannot(&secrets, &error)),
    }
    let mut yaml =
        "# Written by `hooklatch init`. `hooklatch check` names every error of this file.\nroutes:\n".to_owned();
    for spec in specs {
        for SecretFile { name, secret } in secret_files(spec) {
            let path = folder.join(&name);
            match create(&path, mode) {
                Ok(mut file) => {
                    made.files.push(path.clone());
                    let written = file.write_all(secret.expose()).and_then(|()| file.write_all(b"\n"));
                    written.map_err(|error| cannot(&path, &error))?;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    errln!("hooklatch: {} exists, and is used as it is", path.display());
                    warn_of_mode(&path, mode);
                }
                Err(error) => return Err(cannot(&path, &error)),
            }
        }
        yaml.push_str(&route(spec));
    }
    file.write_all(yaml.as_bytes()).map_err(|error| Failure::Failed(error.to_string()))
}

/// The mode of the files in the folder of the secrets. If the folder has the setgid bit, its files are for its group too: packages
/// make it so for the service, which root's own files would be closed to.
fn mode_of_secrets(folder: &Path) -> u32 {
    let has_setgid = std::fs::metadata(folder).is_ok_and(|metadata| metadata.permissions().mode() & 0o2000 != 0);
    if has_setgid { 0o640 } else { 0o600 }
}

/// Says that others can read a secret, if its file's mode lets more than `wanted`.
fn warn_of_mode(path: &Path, wanted: u32) {
    let Ok(metadata) = std::fs::metadata(path) else { return };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 & !wanted != 0 {
        let path = path.display();
        errln!("hooklatch: warning: other users can get at {path} (mode {mode:04o}): chmod {wanted:o} {path}");
    }
}

/// The files with the secrets of a scheme's route.
fn secret_files(spec: &Spec) -> Vec<SecretFile> {
    let random = |length| (0..length).map(|_| rand::random()).collect();
    let own = spec.make_secret(spec.secret_from == SecretFrom::Provider, random);
    let parameters = spec.parameters.iter().filter(|parameter| parameter.secret).map(|parameter| SecretFile {
        name: file_name(spec, Some(parameter)),
        secret: base16ct::lower::encode_string(&rand::random::<[u8; 32]>()).into_bytes().into(),
    });
    std::iter::once(SecretFile { name: file_name(spec, None), secret: own }).chain(parameters).collect()
}

/// The name of the file with a route's secret, or with a secret parameter.
fn file_name(spec: &Spec, parameter: Option<&Parameter>) -> String {
    match parameter {
        None => format!("{SECRETS}/{}", spec.name),
        Some(parameter) => format!("{SECRETS}/{}-{}", spec.name, parameter.name),
    }
}

fn public_url(spec: &Spec) -> String {
    format!("{HOST}{}", path(spec))
}

fn path(spec: &Spec) -> String {
    format!("/webhooks/{}", spec.name)
}

/// The YAML of a scheme's route.
fn route(spec: &Spec) -> String {
    let name = &spec.name;
    let mut options = Vec::new();
    if spec.needs_public_url() {
        options.push(format!("public_url: {}", public_url(spec)));
    }
    for parameter in spec.parameters.iter().filter(|parameter| !parameter.optional) {
        let value = match parameter.secret {
            true => format!("{{ file: {} }}", file_name(spec, Some(parameter))),
            false => "replace-me".to_owned(),
        };
        options.push(format!("{}: {value}", parameter.name));
    }
    let scheme = match options.is_empty() {
        true => name.clone(),
        false => format!("{{ name: {name}, {} }}", options.join(", ")),
    };
    let path = path(spec);
    format!(
        "  - name: {name}\n    path: {path}\n    scheme: {scheme}\n    secrets:\n      - file: {}\n    \
         upstream: {HANDLER}{path}    # your handler\n",
        file_name(spec, None)
    )
}

/// Where at its provider URL and secret are entered.
fn place(spec: &Spec) -> String {
    let signature = spec.signature_in_words().replace('`', "");
    match (&spec.setup, spec.secret_from) {
        (Some(setup), _) => setup.clone(),
        (None, SecretFrom::User) => {
            format!("where your account registers a webhook: enter URL and secret; deliveries then have {signature}")
        }
        (None, SecretFrom::Provider) => format!(
            "where your account registers a webhook: enter the URL, and take the secret from there; deliveries then have \
             {signature}"
        ),
    }
}

/// Says what to enter at each provider, and how to start the gateway.
fn tell(args: &Args, specs: &[&Spec]) -> Result<(), Failure> {
    let config = match args.config == Path::new("gateway.yaml") {
        true => String::new(),
        false => format!(" -c {}", args.config.display()),
    };
    let folder = args.config.parent().unwrap_or(Path::new(""));
    let shown = |name: String| folder.join(name).display().to_string();
    outln!("wrote {}, with secrets in {}", args.config.display(), folder.join(SECRETS).display());
    for spec in specs {
        let secret = shown(file_name(spec, None));
        outln!("\n{}", spec.title);
        outln!("  URL      {}", public_url(spec));
        match spec.secret_from {
            SecretFrom::User => outln!("  secret   what is in {secret}: enter both at {}", spec.title),
            SecretFrom::Provider => {
                outln!("  secret   {} makes it: write it into {secret}, in place of the placeholder", spec.title);
            }
        }
        for parameter in spec.parameters.iter().filter(|parameter| !parameter.optional) {
            let at = match parameter.secret {
                true => format!("what is in {}", shown(file_name(spec, Some(parameter)))),
                false => format!("`{}` in {}", parameter.name, args.config.display()),
            };
            outln!("  also     {at}: {}", parameter.description);
        }
        outln!("  where    {}", place(spec));
        for page in spec.documentation.iter().chain(&spec.source).take(1) {
            outln!("  see      {page} and `hooklatch schemes {}`", spec.name);
        }
    }
    outln!(
        "\nPut the host by which providers reach the gateway in place of hooks.example.com. In {},",
        args.config.display()
    );
    outln!(
        "set each `upstream` to the address of your handler. Then start the gateway, and try it in another terminal:"
    );
    outln!("  hooklatch serve{config}");
    // A provider with a private key of its own is the only one that can sign.
    for spec in specs.iter().filter(|spec| matches!(spec.secret_from, SecretFrom::User)).take(1) {
        outln!("  hooklatch send {}{config}", spec.name);
    }
    Ok(())
}
