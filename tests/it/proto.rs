//! `proto.txt` lists every item of the wire format; what is compiled from `proto/` has to say the
//! same. Then a few messages byte by byte.

use std::collections::BTreeMap;
use std::fmt::Debug;

use prost::Message;
use prost::bytes::Bytes;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::file_options::OptimizeMode;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet,
};
use teamtalk::pb::base_define::{ClientType, GroupType, MsgType, UserInfo, UserStatType};
use teamtalk::pb::buddy::ImUsersStatReq;
use teamtalk::pb::file::ImFileReq;
use teamtalk::pb::group::ImGroupCreateReq;
use teamtalk::pb::login::{ImLoginReq, ImLoginRes};
use teamtalk::pb::message::ImMsgData;
use teamtalk::pb::other::ImHeartBeat;
use teamtalk::pb::switch_service::ImP2pCmdMsg;
use teamtalk::pb::{FILE_DESCRIPTOR_SET, server};

const TABLE: &str = include_str!("proto.txt");

/// What is said of each item, by the item's name: `field IM.Login.IMLoginReq.password` is
/// `2 required string`.
type Items = BTreeMap<String, String>;

fn add(items: &mut Items, item: String, says: String) {
    assert!(!items.contains_key(&item), "{item} occurs twice");
    items.insert(item, says);
}

// The table's side.

fn items_of_table(table: &str) -> Items {
    let mut items = Items::new();
    for line in joined_lines(table) {
        let (head, parts) = line.split_once(':').unwrap();
        let parts = parts.split(';').map(str::trim).filter(|part| !part.is_empty());
        let (kind, name) = head.split_once(' ').unwrap();
        match kind {
            "file" => {
                let parts: Vec<_> = parts.collect();
                add(&mut items, head.to_owned(), parts.join("; "));
            }
            "enum" => {
                add(&mut items, head.to_owned(), String::new());
                for (position, part) in parts.enumerate() {
                    let (value, number) = part.split_once(" = ").unwrap();
                    let says = format!("{} at position {position}", parse_number(number));
                    add(&mut items, format!("value {name}.{value}"), says);
                }
            }
            "message" => {
                add(&mut items, head.to_owned(), String::new());
                for part in parts {
                    let (field, says) = table_field(part);
                    add(&mut items, format!("field {name}.{field}"), says);
                }
            }
            _ => panic!("no such kind of item: {line}"),
        }
    }
    items
}

fn joined_lines(table: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("    ") {
            Some(rest) => lines.last_mut().unwrap().extend([" ", rest]),
            None => lines.push(line.to_owned()),
        }
    }
    lines
}

fn parse_number(text: &str) -> i32 {
    match text.strip_prefix("0x") {
        Some(hex) => i32::from_str_radix(hex, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

/// `2 required GroupType group_type = GROUP_TYPE_TMP` is what is said of `group_type`.
fn table_field(part: &str) -> (&str, String) {
    let (part, default) = match part.split_once(" = ") {
        Some((part, default)) => (part, format!(" = {default}")),
        None => (part, String::new()),
    };
    let words: Vec<_> = part.split(' ').collect();
    let [number, label, kind, field] = words[..] else { panic!("not a field: {part}") };
    let kind = match kind {
        "uint32" | "string" | "bytes" => kind.to_owned(),
        _ => format!("IM.BaseDefine.{kind}"),
    };
    (field, format!("{number} {label} {kind}{default}"))
}

// The descriptors' side. What the wire format does not use has no place in the table, so that it
// is refused right here.

fn items_of_proto() -> Items {
    let mut items = Items::new();
    for file in FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file {
        add_file(&mut items, &file);
        for definition in &file.enum_type {
            add_enum(&mut items, file.package(), definition);
        }
        for message in &file.message_type {
            add_message(&mut items, file.package(), message);
        }
    }
    items
}

fn add_file(items: &mut Items, file: &FileDescriptorProto) {
    let name = file.name();
    let options = file.options.as_ref().unwrap();
    assert!(matches!(file.syntax(), "" | "proto2"), "{name} is {}", file.syntax());
    assert_eq!(options.optimize_for(), OptimizeMode::LiteRuntime, "{name}");
    assert!(file.extension.is_empty() && file.service.is_empty(), "{name}");
    assert!(file.public_dependency.is_empty() && file.weak_dependency.is_empty(), "{name}");
    let mut says = format!("package {}", file.package());
    if let Some(package) = &options.java_package {
        says += &format!("; java_package {package}");
    }
    for import in &file.dependency {
        says += &format!("; import {import}");
    }
    add(items, format!("file {name}"), says);
}

fn add_enum(items: &mut Items, package: &str, definition: &EnumDescriptorProto) {
    let name = format!("{package}.{}", definition.name());
    assert!(definition.reserved_range.is_empty() && definition.options.is_none(), "{name}");
    add(items, format!("enum {name}"), String::new());
    for (position, value) in definition.value.iter().enumerate() {
        let says = format!("{} at position {position}", value.number());
        add(items, format!("value {name}.{}", value.name()), says);
    }
}

fn add_message(items: &mut Items, package: &str, message: &DescriptorProto) {
    let name = format!("{package}.{}", message.name());
    assert!(message.nested_type.is_empty() && message.enum_type.is_empty(), "{name}");
    assert!(message.extension.is_empty() && message.extension_range.is_empty(), "{name}");
    assert!(message.oneof_decl.is_empty() && message.options.is_none(), "{name}");
    add(items, format!("message {name}"), String::new());
    for field in &message.field {
        add(items, format!("field {name}.{}", field.name()), proto_field(field));
    }
}

fn proto_field(field: &FieldDescriptorProto) -> String {
    let label = match field.label() {
        Label::Optional => "optional",
        Label::Required => "required",
        Label::Repeated => "repeated",
    };
    let kind = match field.r#type() {
        Type::Uint32 => "uint32",
        Type::String => "string",
        Type::Bytes => "bytes",
        Type::Enum | Type::Message => field.type_name().trim_start_matches('.'),
        other => other.as_str_name(),
    };
    let mut says = format!("{} {label} {kind}", field.number());
    if let Some(default) = &field.default_value {
        says += &format!(" = {default}");
    }
    if let Some(options) = &field.options {
        says += &format!(" [{options:?}]");
    }
    says
}

/// One line for each item that is missing, additional or changed.
fn differences(table: &Items, proto: &Items) -> Vec<String> {
    let mut lines = Vec::new();
    for (item, says) in table {
        match proto.get(item) {
            None => lines.push(format!("{item} is missing")),
            Some(other) if other != says => {
                lines.push(format!("{item} is `{other}`, not `{says}`"));
            }
            Some(_) => {}
        }
    }
    let additional = proto.keys().filter(|item| !table.contains_key(*item));
    lines.extend(additional.map(|item| format!("{item} is additional")));
    lines
}

fn count(items: &Items, kind: &str) -> usize {
    items.keys().filter(|item| item.split(' ').next() == Some(kind)).count()
}

#[test]
fn proto_says_what_the_table_says() {
    let (table, proto) = (items_of_table(TABLE), items_of_proto());
    let differences = differences(&table, &proto);
    assert!(differences.is_empty(), "proto/ and proto.txt differ:\n{}", differences.join("\n"));
    let kinds = ["file", "enum", "value", "message", "field"];
    assert_eq!(kinds.map(|kind| count(&table, kind)), [9, 23, 160, 112, 401]);
}

#[test]
fn a_difference_names_its_item() {
    let edits = [
        ("REFUSE_REASON_NONE = 0; ", "", "value IM.BaseDefine.ResultType.REFUSE_REASON_NONE"),
        ("SID_OTHER = 7", "SID_OTHER = 9", "value IM.BaseDefine.ServiceID.SID_OTHER"),
        ("2 repeated uint32 user_id;", "", "field IM.Server.IMGroupGetShieldReq.user_id"),
        (" = GROUP_TYPE_TMP", "", "field IM.Group.IMGroupCreateReq.group_type"),
        ("3 required string cmd_msg_data", "3 required bytes cmd_msg_data", "IM.SwitchService."),
        ("2 required string password", "2 optional string password", "IMLoginReq.password"),
        ("required uint32 server_time", "required uint32 time", "IM.Login.IMLoginRes.time"),
        ("2 optional string prior_ip", "9 optional string prior_ip", "IMMsgServRsp.prior_ip"),
        ("message IM.Other.IMHeartBeat:", "", "message IM.Other.IMHeartBeat is additional"),
        ("package IM.Server", "package IM.Servers", "file IM.Server.proto"),
    ];
    let proto = items_of_proto();
    for (text, replacement, item) in edits {
        let edited = TABLE.replacen(text, replacement, 1);
        assert_ne!(edited, TABLE, "{text}");
        let differences = differences(&items_of_table(&edited), &proto);
        assert!(differences.iter().any(|line| line.contains(item)), "{text}: {differences:?}");
    }
}

// Bytes.

/// Both ways: the value gives the bytes, the bytes give the value.
fn assert_golden<M: Message + Default + Debug + PartialEq>(message: &M, bytes: &[u8]) {
    assert_eq!(message.encode_to_vec(), bytes, "{message:?}");
    assert_eq!(&M::decode(bytes).unwrap(), message);
}

#[test]
fn a_login_request_is_these_bytes() {
    let request = ImLoginReq {
        user_name: "joe".to_owned(),
        password: "e10adc".to_owned(),
        online_status: UserStatType::UserStatusOnline.into(),
        client_type: ClientType::Android.into(),
        client_version: Some("1.0".to_owned()),
    };
    let bytes = b"\x0a\x03joe\x12\x06e10adc\x18\x01\x20\x12\x2a\x031.0";
    assert_golden(&request, bytes);
}

#[test]
fn a_message_with_attach_data_is_these_bytes() {
    let message = ImMsgData {
        from_user_id: 1,
        to_session_id: 300,
        msg_id: 0,
        create_time: 0xffff_ffff,
        msg_type: MsgType::GroupText.into(),
        msg_data: Bytes::from_static(b"\x00\xff"),
        attach_data: Some(Bytes::from_static(b"\x00\x00\x00\x01")),
    };
    // A required field is written even if it is 0; the key of field 20 takes two bytes.
    let bytes = b"\x08\x01\x10\xac\x02\x18\x00\x20\xff\xff\xff\xff\x0f\x28\x11\x32\x02\x00\xff\
        \xa2\x01\x04\x00\x00\x00\x01";
    assert_golden(&message, bytes);
}

#[test]
fn a_message_within_a_message_is_these_bytes() {
    let answer = ImLoginRes {
        server_time: 1,
        user_info: Some(UserInfo { user_id: 2, ..UserInfo::default() }),
        ..ImLoginRes::default()
    };
    let bytes = b"\x08\x01\x10\x00\x2a\x14\
        \x08\x02\x10\x00\x1a\x00\x22\x00\x28\x00\x32\x00\x3a\x00\x42\x00\x4a\x00\x50\x00";
    assert_golden(&answer, bytes);
}

#[test]
fn a_message_without_fields_has_no_bytes() {
    assert_golden(&ImHeartBeat {}, b"");
}

#[test]
fn repeated_numbers_are_sent_unpacked_and_taken_either_way() {
    let request = ImUsersStatReq { user_id: 7, user_id_list: vec![1, 300], attach_data: None };
    assert_golden(&request, b"\x08\x07\x10\x01\x10\xac\x02");
    let packed = b"\x08\x07\x12\x03\x01\xac\x02";
    assert_eq!(ImUsersStatReq::decode(&packed[..]).unwrap(), request);
}

#[test]
fn text_that_is_not_utf8_survives_where_it_is_only_passed_on() {
    let gbk = b"\xce\xc4\xbc\xfe.txt";
    let file = ImFileReq {
        from_user_id: 1,
        to_user_id: 2,
        file_name: Bytes::from_static(gbk),
        file_size: 3,
        trans_mode: 1,
    };
    assert_golden(&file, b"\x08\x01\x10\x02\x1a\x08\xce\xc4\xbc\xfe.txt\x20\x03\x28\x01");
    let command = ImP2pCmdMsg { cmd_msg_data: Bytes::from_static(gbk), ..ImP2pCmdMsg::default() };
    assert_golden(&command, b"\x08\x00\x10\x00\x1a\x08\xce\xc4\xbc\xfe.txt");
    let user = UserInfo { avatar_url: Bytes::from_static(gbk), ..UserInfo::default() };
    assert_eq!(UserInfo::decode(user.encode_to_vec().as_slice()).unwrap(), user);
    let flash = Bytes::from_static(b"\xe6\x82...");
    let push = server::ImPushToUserReq { flash, ..Default::default() };
    assert_eq!(server::ImPushToUserReq::decode(push.encode_to_vec().as_slice()).unwrap(), push);
}

#[test]
fn text_that_is_not_utf8_fails_the_message_elsewhere() {
    assert!(ImLoginReq::decode(&b"\x0a\x01\xff"[..]).is_err());
}

// What the documentation of `pb` says of decoding.

#[test]
fn absent_required_fields_read_as_their_default() {
    let message = ImMsgData::decode(&b""[..]).unwrap();
    assert_eq!((message.from_user_id, message.msg_data.len()), (0, 0));
    assert_eq!(message.msg_type, i32::from(MsgType::SingleText));
    let request = ImGroupCreateReq::decode(&b""[..]).unwrap();
    assert_eq!(request.group_type, i32::from(GroupType::Tmp));
}

#[test]
fn a_number_outside_the_enum_stays_and_does_not_convert() {
    let bytes = b"\x08\x01\x10\x02\x18\x03\x20\x04\x28\x63\x32\x00";
    let message = ImMsgData::decode(&bytes[..]).unwrap();
    assert_eq!(message.msg_type, 0x63);
    assert!(MsgType::try_from(message.msg_type).is_err());
    assert_eq!(message.msg_type(), MsgType::SingleText);
    assert_golden(&message, bytes);
}

#[test]
fn unknown_fields_are_skipped() {
    let known = b"\x08\x07";
    let more = b"\x08\x07\x78\x05";
    assert_eq!(ImUsersStatReq::decode(&more[..]), ImUsersStatReq::decode(&known[..]));
}
