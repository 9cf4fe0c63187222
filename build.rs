//! Makes Rust of the messages in `proto/`; protox parses them, so no protoc is needed.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use protox::Compiler;
use protox::prost::Message;
use protox::prost_reflect::prost_types::FileDescriptorSet;
use protox::prost_reflect::prost_types::field_descriptor_proto::Type;

/// `string` fields that the Rust types hold as bytes, wherever they occur.
///
/// The two look the same on the wire, but prost refuses a whole message for one `string` that is
/// not UTF-8, and the C++ servers pass such strings on. So these fields are bytes:
///
/// - `file_name`, `cmd_msg_data`, `avatar_url`: old Windows clients fill them in the code page of
///   their machine, and no server looks inside, it only hands them on;
/// - `flash`: a C++ msg_server cuts the alert after 37 bytes, be it within a character.
///
/// All others stay `string`:
///
/// - servers look up, compare or edit them, and SQL stores them as text: `user_name`, `nick`,
///   `user_nick_name`, `sign_info`, `group_name`, `group_avatar`, `avatar`, `phone`, `email`;
/// - servers make them: `task_id`, `ip`, `result_string`, `data`;
/// - they are ASCII by definition: `password`, `device_token`, `client_version`.
const NOT_ALWAYS_UTF8: [&str; 4] = ["avatar_url", "cmd_msg_data", "file_name", "flash"];

/// Messages whose Rust name would otherwise come out as `ImpcLoginStatusNotify`, `Imp2pCmdMsg`:
/// all names of a command's body are to begin with `Im`. Names do not travel.
const RENAMED: [(&str, &str); 2] =
    [("IMPCLoginStatusNotify", "ImPcLoginStatusNotify"), ("IMP2PCmdMsg", "ImP2pCmdMsg")];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);

    let mut names = fs::read_dir("proto")?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<Vec<_>, _>>()?;
    names.sort();
    let mut compiler = Compiler::new(["proto"])?;
    compiler.include_source_info(true).open_files(names)?;
    let mut descriptors = compiler.file_descriptor_set();

    fs::write(out_dir.join("descriptors.bin"), without_comments(&descriptors).encode_to_vec())?;
    adapt(&mut descriptors)?;
    prost_build::Config::new().bytes(["."]).out_dir(out_dir).compile_fds(descriptors)?;
    Ok(())
}

fn without_comments(descriptors: &FileDescriptorSet) -> FileDescriptorSet {
    let mut bare = descriptors.clone();
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    bare
}

/// Changes what the Rust types look like, never what they encode to. A name that does not occur is
/// an error, so that neither list outlives a change of `proto/`.
fn adapt(descriptors: &mut FileDescriptorSet) -> Result<(), Box<dyn Error>> {
    let mut missing = NOT_ALWAYS_UTF8.to_vec();
    missing.extend(RENAMED.map(|(name, _)| name));
    for message in descriptors.file.iter_mut().flat_map(|file| &mut file.message_type) {
        for field in &mut message.field {
            if field.r#type() == Type::String && NOT_ALWAYS_UTF8.contains(&field.name()) {
                missing.retain(|name| *name != field.name());
                field.set_type(Type::Bytes);
            }
        }
        if let Some((name, rust_name)) = RENAMED.iter().find(|(name, _)| *name == message.name()) {
            missing.retain(|missing| missing != name);
            message.name = Some((*rust_name).to_owned());
        }
    }
    match missing.as_slice() {
        [] => Ok(()),
        names => Err(format!("build.rs adapts what proto/ does not have: {names:?}").into()),
    }
}
